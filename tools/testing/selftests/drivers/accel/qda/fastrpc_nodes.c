// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: the device nodes of the FastRPC driver, where what they do is the driver's own doing.
 *
 * Wants a secure CDSP and a secure ADSP.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>

#include "child.h"
#include "dmabuf.h"
#include "harness.h"
#include "nodes.h"
#include "sysfs.h"

#define HEAP		0x1000
#define TIMEOUT_MS	15000
#define ASKERS		6
/* The DSP makes no processes. */
#define REFUSE	"script {\"rules\":[{\"handle\":1,\"method\":7,\"actions\":[{\"fail\":5}]}]}"

static int attach(int fd)
{
	return qda_ioctl(fd, FASTRPC_IOCTL_INIT_ATTACH, NULL);
}

static int create_static(int fd, const char *name, __u32 len)
{
	struct fastrpc_init_create_static arg = { .namelen = len, .name = (uintptr_t)name };

	return qda_ioctl(fd, FASTRPC_IOCTL_INIT_CREATE_STATIC, &arg);
}

static int map(int fd, int dmabuf, size_t len, struct fastrpc_mem_map *arg)
{
	*arg = (struct fastrpc_mem_map) {
		.fd = dmabuf, .flags = FASTRPC_MAP_FD, .length = len,
	};
	return qda_ioctl(fd, FASTRPC_IOCTL_MEM_MAP, arg);
}

static int unmap(int fd, int dmabuf, __u64 address, size_t len)
{
	struct fastrpc_mem_unmap arg = { .fd = dmabuf, .vaddr = address, .length = len };

	return qda_ioctl(fd, FASTRPC_IOCTL_MEM_UNMAP, &arg);
}

FIXTURE(nodes) {};

FIXTURE_SETUP(nodes)
{
	const char *why = qda_test_begin("nodes", _metadata->name, true);

	if (why)
		SKIP(return, "%s", why);
}

FIXTURE_TEARDOWN(nodes)
{
	EXPECT_EQ(0, qda_test_end());
}

TEST_F(nodes, names)
{
	struct stat st;

	ASSERT_EQ(0, stat(CDSP, &st));
	EXPECT_TRUE(S_ISCHR(st.st_mode));
	EXPECT_EQ(0600, st.st_mode & 0777);
	EXPECT_EQ(0, access(CDSP_SECURE, F_OK));
	EXPECT_EQ(0, access(ADSP_SECURE, F_OK));
	EXPECT_NE(0, access(ADSP, F_OK));
}

/* The plain node of a secure DSP is for unsigned processes, whoever has opened it. */
TEST_F(nodes, plain)
{
	int fd = open(CDSP, O_RDWR | O_CLOEXEC);

	ASSERT_GE(fd, 0);
	EXPECT_EQ(-EACCES, attach(fd));
	EXPECT_EQ(-EACCES, qda_ioctl(fd, FASTRPC_IOCTL_INIT_ATTACH_SNS, NULL));
	EXPECT_EQ(-EACCES, create_static(fd, "audiopd", 8));
	EXPECT_EQ(-ECONNREFUSED, create(fd, 0));
	EXPECT_EQ(-ECONNREFUSED, create(fd, PRIVILEGED));
	EXPECT_EQ(-ECONNREFUSED, create(fd, PRIVILEGED | UNSIGNED));
	EXPECT_EQ(0, create(fd, UNSIGNED));
	EXPECT_EQ(1, simdsp_stat("cdsp", "user"));
	close(fd);
}

static int secure_child(struct child *parent, void *arg)
{
	int fd = open(CDSP_SECURE, O_RDONLY);

	/* Who opened the node is what counts. */
	if (fd < 0 || setgid(65534) || setuid(65534))
		return 1;
	return !!create(fd, 0);
}

/* The other node is for all of them, also where it is open for reading only. */
TEST_F(nodes, secure)
{
	struct child child;
	int fd;

	fd = open(CDSP_SECURE, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(0, attach(fd));
	EXPECT_EQ(1, simdsp_stat("cdsp", "root"));
	EXPECT_NE(0, module(fd));
	EXPECT_EQ(-EEXIST, attach(fd));
	EXPECT_EQ(-EEXIST, create(fd, 0));
	close(fd);
	ASSERT_EQ(0, child_start(&child, secure_child, NULL));
	EXPECT_EQ(0, child_wait(&child, TIMEOUT_MS));
}

static int open_child(struct child *parent, void *arg)
{
	int fd = open(CDSP, O_RDWR | O_CLOEXEC);

	child_tell(parent, fd < 0 ? -errno : 0);
	child_hear(parent, TIMEOUT_MS);
	return 0;
}

/* Whoever has opened a node has room for a process; when there is none, opening it fails. */
TEST_F(nodes, busy)
{
	int banks = simdsp_stat("cdsp", "banks");
	struct child child[32];
	int fd, other;

	ASSERT_LT(banks, 32);
	for (int i = 0; i <= banks; i++) {
		ASSERT_EQ(0, child_start(&child[i], open_child, NULL));
		EXPECT_EQ(i < banks ? 0 : -EBUSY, child_hear(&child[i], TIMEOUT_MS));
	}
	EXPECT_EQ(-1, open(CDSP, O_RDWR | O_CLOEXEC));
	EXPECT_EQ(EBUSY, errno);
	child_tell(&child[0], 0);
	EXPECT_EQ(0, child_wait(&child[0], TIMEOUT_MS));

	/* Files of one program that have no process yet share a bank. */
	fd = open(CDSP, O_RDWR | O_CLOEXEC);
	other = open(CDSP, O_RDWR | O_CLOEXEC);
	ASSERT_GE(fd, 0);
	ASSERT_GE(other, 0);
	EXPECT_EQ(0, create(fd, UNSIGNED));
	EXPECT_NE(0, module(fd));
	close(fd);
	close(other);
	for (int i = 1; i <= banks; i++) {
		child_tell(&child[i], 0);
		EXPECT_EQ(0, child_wait(&child[i], TIMEOUT_MS));
	}
}

/* A buffer of the driver: mapped, passed from its middle, and closed before the file is. */
TEST_F(nodes, allocates)
{
	const size_t size = 4 * qda_page_size(), at = qda_page_size() + 100, len = 2000;
	struct fastrpc_alloc_dma_buf arg = { .size = size };
	int fd = open(CDSP, O_RDWR | O_CLOEXEC);
	__u8 out[2000], *memory;
	__u32 handle;

	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, create(fd, UNSIGNED));
	handle = module(fd);
	ASSERT_NE(0, handle);
	ASSERT_EQ(0, qda_ioctl(fd, FASTRPC_IOCTL_ALLOC_DMA_BUFF, &arg));
	ASSERT_GT(arg.fd, 0);
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, arg.fd, 0);
	ASSERT_NE(MAP_FAILED, memory);
	EXPECT_TRUE(qda_all(memory, size, 0));
	qda_fill(memory, size, 3);
	EXPECT_EQ(0, echo(fd, handle, (struct fastrpc_invoke_args) {
			  (uintptr_t)memory + at, len, arg.fd, 0 }, bytes(out, len)));
	EXPECT_EQ(0, memcmp(memory + at, out, len));
	/* For another virtual machine. */
	EXPECT_EQ(-EOPNOTSUPP, echo(fd, handle, (struct fastrpc_invoke_args) {
			  (uintptr_t)memory, len, arg.fd, FASTRPC_ATTR_SECUREMAP },
			  bytes(out, len)));
	/* Past its end, and not in it. */
	EXPECT_EQ(-EINVAL, echo(fd, handle, (struct fastrpc_invoke_args) {
			  (uintptr_t)memory + size - 10, len, arg.fd, 0 }, bytes(out, len)));
	EXPECT_EQ(-EINVAL, echo(fd, handle, (struct fastrpc_invoke_args) {
			  (uintptr_t)out, len, arg.fd, 0 }, bytes(out, len)));
	munmap(memory, size);
	close(arg.fd);
	EXPECT_LT(echo(fd, handle, (struct fastrpc_invoke_args) {
			  (uintptr_t)out, len, arg.fd, 0 }, bytes(out, len)), 0);
	close(fd);

	/* Neither without a size, nor where there is no room for the answer. */
	fd = open(CDSP, O_RDWR | O_CLOEXEC);
	arg.size = 0;
	EXPECT_EQ(-EINVAL, qda_ioctl(fd, FASTRPC_IOCTL_ALLOC_DMA_BUFF, &arg));
	EXPECT_EQ(-EFAULT, qda_ioctl(fd, FASTRPC_IOCTL_ALLOC_DMA_BUFF, (void *)8));
	close(fd);
}

/* What the kernel tells about an open file. */
TEST_F(nodes, tells)
{
	struct fastrpc_alloc_dma_buf arg = { .size = 65536 };
	int fd = open(CDSP, O_RDWR | O_CLOEXEC);
	char path[64], text[1024] = "";
	int info;

	ASSERT_GE(fd, 0);
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	info = open(path, O_RDONLY | O_CLOEXEC);
	ASSERT_GE(info, 0);
	EXPECT_GT(read(info, text, sizeof(text) - 1), 0);
	close(info);
	EXPECT_NE(NULL, strstr(text, "\nqda-dsp:\tcdsp\n"));
	EXPECT_EQ(0, qda_fdinfo(fd, "qda-buffers"));
	EXPECT_EQ(-ENOENT, qda_fdinfo(fd, "qda-client"));

	ASSERT_EQ(0, create(fd, UNSIGNED));
	ASSERT_EQ(0, qda_ioctl(fd, FASTRPC_IOCTL_ALLOC_DMA_BUFF, &arg));
	EXPECT_EQ(64, qda_fdinfo(fd, "qda-buffers"));
	EXPECT_GT(qda_fdinfo(fd, "qda-client"), 0);
	EXPECT_GT(qda_fdinfo(fd, "qda-bank"), 0);
	close(arg.fd);
	close(fd);
}

static int alloc(int fd, size_t len)
{
	struct fastrpc_alloc_dma_buf arg = { .fd = -1, .size = len };

	return qda_ioctl(fd, FASTRPC_IOCTL_ALLOC_DMA_BUFF, &arg) ?: (int)arg.fd;
}

/* Many dma-bufs, one after the other, as a program has them: none stays for long. */
static void forget(struct __test_metadata *_metadata, bool own)
{
	int fd = open(CDSP, O_RDWR | O_CLOEXEC);
	long long mappings, end;
	__u8 out[100];
	__u32 handle;

	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, create(fd, UNSIGNED));
	handle = module(fd);
	mappings = simdsp_stat("cdsp", "mappings");
	for (int i = 0; i < 50; i++) {
		int buf = own ? alloc(fd, 65536) : dmabuf_heap(65536);
		__u8 *memory;

		ASSERT_GE(buf, 0);
		memory = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, buf, 0);
		ASSERT_NE(MAP_FAILED, memory);
		qda_fill(memory, 65536, i);
		ASSERT_EQ(0, echo(fd, handle, (struct fastrpc_invoke_args) {
				  (uintptr_t)memory + 5000, 100, buf, 0 }, bytes(out, 100)));
		EXPECT_EQ(0, memcmp(memory + 5000, out, 100));
		munmap(memory, 65536);
		close(buf);
	}
	end = qda_now_ms() + qda_patience(2000);
	while (simdsp_stat("cdsp", "mappings") > mappings && qda_now_ms() < end)
		usleep(10000);
	EXPECT_EQ(mappings, simdsp_stat("cdsp", "mappings"));
	close(fd);
}

TEST_F(nodes, forgets)
{
	forget(_metadata, false);
}

TEST_F(nodes, forgets_its_own)
{
	forget(_metadata, true);
}

TEST_F(nodes, maps)
{
	struct fastrpc_mem_map arg;
	int fd = open(CDSP, O_RDWR | O_CLOEXEC);
	int heap = dmabuf_heap(65536);
	void *page;

	ASSERT_GE(fd, 0);
	ASSERT_GE(heap, 0);
	EXPECT_EQ(-ENOTCONN, map(fd, heap, 65536, &arg));
	ASSERT_EQ(0, create(fd, UNSIGNED));
	EXPECT_EQ(0, map(fd, heap, 65536, &arg));
	EXPECT_NE(0, arg.vaddrout);
	EXPECT_EQ(-EEXIST, map(fd, heap, 65536, &(struct fastrpc_mem_map) {}));
	EXPECT_EQ(-EINVAL, unmap(fd, heap, arg.vaddrout + 4096, 65536));
	EXPECT_EQ(0, unmap(fd, heap, arg.vaddrout, 65536));
	EXPECT_EQ(-EINVAL, unmap(fd, heap, arg.vaddrout, 65536));
	/* By its address alone. */
	EXPECT_EQ(0, map(fd, heap, 4096, &arg));
	EXPECT_EQ(0, unmap(fd, -1, arg.vaddrout, 4096));

	EXPECT_EQ(-EBADF, map(fd, 999, 4096, &arg));
	EXPECT_EQ(-EINVAL, map(fd, fd, 4096, &arg));
	EXPECT_EQ(-EINVAL, map(fd, heap, 65537, &arg));
	EXPECT_EQ(-EINVAL, map(fd, heap, 0, &arg));

	/* What can't be told is undone. */
	page = mmap(NULL, qda_page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		    -1, 0);
	ASSERT_NE(MAP_FAILED, page);
	*(struct fastrpc_mem_map *)page = (struct fastrpc_mem_map) {
		.fd = heap, .flags = FASTRPC_MAP_FD, .length = 65536,
	};
	ASSERT_EQ(0, mprotect(page, qda_page_size(), PROT_READ));
	EXPECT_EQ(-EFAULT, qda_ioctl(fd, FASTRPC_IOCTL_MEM_MAP, page));
	EXPECT_EQ(0, simdsp_stat("cdsp", "maps"));
	munmap(page, qda_page_size());
	close(heap);
	close(fd);
}

TEST_F(nodes, grows)
{
	struct fastrpc_req_mmap arg = { .fd = -1, .flags = HEAP, .size = 100000 };
	struct fastrpc_req_munmap back = { 0 };
	int fd = open(CDSP, O_RDWR | O_CLOEXEC);

	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, create(fd, UNSIGNED));
	EXPECT_EQ(0, qda_ioctl(fd, FASTRPC_IOCTL_MMAP, &arg));
	EXPECT_EQ(1, simdsp_stat("cdsp", "maps"));
	back.vaddrout = arg.vaddrout;
	back.size = arg.size - 1;
	EXPECT_EQ(-EINVAL, qda_ioctl(fd, FASTRPC_IOCTL_MUNMAP, &back));
	back.size = arg.size;
	EXPECT_EQ(0, qda_ioctl(fd, FASTRPC_IOCTL_MUNMAP, &back));
	EXPECT_EQ(-EINVAL, qda_ioctl(fd, FASTRPC_IOCTL_MUNMAP, &back));
	EXPECT_EQ(0, simdsp_stat("cdsp", "maps"));

	/* Only the kernel's memory, and only for that. */
	arg.flags = 0;
	EXPECT_EQ(-EINVAL, qda_ioctl(fd, FASTRPC_IOCTL_MMAP, &arg));
	arg.flags = HEAP;
	arg.vaddrin = 4096;
	EXPECT_EQ(-EINVAL, qda_ioctl(fd, FASTRPC_IOCTL_MMAP, &arg));
	arg.vaddrin = 0;
	arg.size = 0;
	EXPECT_EQ(-EINVAL, qda_ioctl(fd, FASTRPC_IOCTL_MMAP, &arg));
	close(fd);
}

TEST_F(nodes, bad_input)
{
	struct fastrpc_ioctl_set_option option = { .request_id = FASTRPC_POLL_MODE, .value = 1 };
	struct fastrpc_ioctl_capability capability = { .attribute_id = 256 };
	struct fastrpc_init_create image = { .filelen = 2097153, .filefd = -1 };
	int fd = open(CDSP_SECURE, O_RDWR | O_CLOEXEC), accel = qda_open("cdsp");
	__u32 number = 0;
	__u64 polls;

	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, qda_param(accel, QDA_PARAM_POLL, 0, &polls));
	close(accel);
	EXPECT_EQ(-ENOTTY, qda_ioctl(fd, FASTRPC_IOCTL_FREE_DMA_BUFF, &number));
	EXPECT_EQ(-ENOTTY, qda_ioctl(fd, _IOWR('R', 14, __u64), &number));
	EXPECT_EQ(-ENOTTY, qda_ioctl(fd, _IOWR('R', 3, __u64), &number));
	EXPECT_EQ(-EFAULT, qda_ioctl(fd, FASTRPC_IOCTL_INVOKE, (void *)8));
	EXPECT_EQ(-EFAULT, qda_ioctl(fd, FASTRPC_IOCTL_MEM_MAP, (void *)8));
	EXPECT_EQ(-EPERM, invoke(fd, 1, 0, NULL));
	EXPECT_EQ(-ENOTCONN, invoke(fd, 0, 0, NULL));

	EXPECT_EQ(-EINVAL, qda_ioctl(fd, FASTRPC_IOCTL_INIT_CREATE, &image));
	image.filelen = 100;
	EXPECT_EQ(-EFAULT, qda_ioctl(fd, FASTRPC_IOCTL_INIT_CREATE, &image));
	image.siglen = 101;
	EXPECT_LT(qda_ioctl(fd, FASTRPC_IOCTL_INIT_CREATE, &image), 0);
	EXPECT_EQ(-EINVAL, create_static(fd, "x", 0));
	EXPECT_EQ(-EINVAL, create_static(fd, "x", 129));
	EXPECT_EQ(-EFAULT, create_static(fd, (char *)8, 5));
	/* There is no heap for static processes. */
	EXPECT_EQ(-ENOMEM, create_static(fd, "audiopd", 8));

	EXPECT_EQ(-EOVERFLOW, qda_ioctl(fd, FASTRPC_IOCTL_GET_DSP_INFO, &capability));
	capability.attribute_id = 255;
	EXPECT_EQ(0, qda_ioctl(fd, FASTRPC_IOCTL_GET_DSP_INFO, &capability));
	EXPECT_EQ(0xff510255, capability.capability);
	EXPECT_EQ(polls ? 0 : -EOPNOTSUPP, qda_ioctl(fd, FASTRPC_IOCTL_SET_OPTION, &option));
	option.reserved[5] = 1;
	EXPECT_EQ(-EINVAL, qda_ioctl(fd, FASTRPC_IOCTL_SET_OPTION, &option));
	option.reserved[5] = 0;
	option.request_id = 2;
	EXPECT_EQ(-EINVAL, qda_ioctl(fd, FASTRPC_IOCTL_SET_OPTION, &option));
	close(fd);
}

static void on_signal(int signal)
{
}

/*
 * What the DSP returns arrives as it is, but for what the kernel would restart the ioctl for: under
 * signals whose handler wants that. Each call is made once.
 */
TEST_F_TIMEOUT(nodes, statuses, 120)
{
	static const __s32 others[] = {
		0, 1, 0x4e, 0x7fffffff, -0x7fffffff - 1, -4097, DSP_ERROR(0x14), DSP_ERROR(0x0d),
	};
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	struct itimerval timer = { { 0, 2000 }, { 0, 2000 } }, off = { 0 };
	int fd = open(CDSP, O_RDWR | O_CLOEXEC);
	long long before;
	__u32 handle;

	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, create(fd, UNSIGNED));
	handle = module(fd);
	ASSERT_NE(0, handle);
	before = simdsp_stat("cdsp", "invokes");
	ASSERT_EQ(0, sigaction(SIGALRM, &action, NULL));
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &timer, NULL));
	for (__s32 status = -1; status >= -600; status--) {
		bool kept = status <= -512 && status >= -530;

		EXPECT_EQ(kept ? -EREMOTEIO : status, returns(fd, handle, status));
	}
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		EXPECT_EQ(others[i], returns(fd, handle, others[i]));
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &off, NULL));
	EXPECT_EQ(before + 600 + ARRAY_SIZE(others), simdsp_stat("cdsp", "invokes"));
	close(fd);
}

/* The module stays for as long as a file is open, or memory of it is there. */
TEST_F_TIMEOUT(nodes, keep_the_module, 60)
{
	struct fastrpc_alloc_dma_buf arg = { .size = 65536 };
	int devices = sysfs_count("/dev/accel"), fd, idle;
	void *memory;

	if (access("/sys/module/qda/initstate", F_OK))
		SKIP(return, "the driver is no module");
	/* A file that is merely open, and one with a process. */
	idle = open(CDSP_SECURE, O_RDWR | O_CLOEXEC);
	ASSERT_GE(idle, 0);
	EXPECT_EQ(-EWOULDBLOCK, qda_unload());
	fd = open(CDSP, O_RDWR | O_CLOEXEC);
	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, create(fd, UNSIGNED));
	close(idle);
	EXPECT_EQ(-EWOULDBLOCK, qda_unload());
	EXPECT_EQ(0, access(CDSP, F_OK));
	EXPECT_EQ(0, access(CDSP_SECURE, F_OK));
	EXPECT_EQ(devices, sysfs_count("/dev/accel"));
	EXPECT_NE(0, module(fd));

	/* A buffer that only its dma-buf holds, and then only who has mapped it. */
	ASSERT_EQ(0, qda_ioctl(fd, FASTRPC_IOCTL_ALLOC_DMA_BUFF, &arg));
	close(fd);
	EXPECT_EQ(-EWOULDBLOCK, qda_unload());
	memory = mmap(NULL, arg.size, PROT_READ | PROT_WRITE, MAP_SHARED, arg.fd, 0);
	ASSERT_NE(MAP_FAILED, memory);
	qda_fill(memory, arg.size, 9);
	close(arg.fd);
	EXPECT_EQ(-EWOULDBLOCK, qda_unload());
	EXPECT_TRUE(qda_filled(memory, arg.size, 9));
	EXPECT_EQ(0, access(CDSP, F_OK));
	EXPECT_EQ(devices, sysfs_count("/dev/accel"));
	munmap(memory, arg.size);

	/* The last is gone: it unloads, and loads again. */
	ASSERT_EQ(0, qda_unload());
	EXPECT_NE(0, access(CDSP, F_OK));
	EXPECT_NE(0, access(CDSP_SECURE, F_OK));
	ASSERT_TRUE(qda_reload(devices));
	fd = qda_open_node(CDSP);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(0, create(fd, UNSIGNED));
	EXPECT_NE(0, module(fd));
	close(fd);
}

/* The driver leaves the DSP: open files are of no use any more, and the nodes are gone. */
TEST_F(nodes, come_and_go)
{
	int fd = open(CDSP, O_RDWR | O_CLOEXEC), idle = open(CDSP, O_RDWR | O_CLOEXEC);

	ASSERT_GE(fd, 0);
	ASSERT_GE(idle, 0);
	ASSERT_EQ(0, create(fd, UNSIGNED));
	ASSERT_EQ(0, qda_rebind("cdsp"));
	EXPECT_EQ(-EPIPE, invoke(fd, 0, 0, NULL));
	EXPECT_EQ(-EPIPE, create(fd, UNSIGNED));
	EXPECT_EQ(-EPIPE, create(idle, UNSIGNED));
	EXPECT_EQ(-EPIPE, invoke(idle, 0, 0, NULL));
	close(fd);
	fd = qda_open_node(CDSP);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(0, create(fd, UNSIGNED));
	EXPECT_NE(0, module(fd));
	close(fd);
	close(idle);
}

/* A client that gets no process asks for one, again and again. */
struct asker {
	pthread_t thread;
	int fd;
	bool stop;
};

static void *ask_on(void *arg)
{
	struct asker *asker = arg;

	while (!__atomic_load_n(&asker->stop, __ATOMIC_ACQUIRE))
		create(asker->fd, UNSIGNED);
	return NULL;
}

/* Clients that go on asking do not keep the driver from leaving the DSP. */
TEST_F_TIMEOUT(nodes, leaves_while_clients_ask, 60)
{
	struct asker askers[ASKERS] = { 0 };
	int fd;

	ASSERT_EQ(0, simdsp_cmd(NULL, REFUSE));
	for (int i = 0; i < ASKERS; i++) {
		askers[i].fd = open(CDSP, O_RDWR | O_CLOEXEC);
		ASSERT_GE(askers[i].fd, 0);
		ASSERT_EQ(0, pthread_create(&askers[i].thread, NULL, ask_on, &askers[i]));
	}
	usleep(50000);
	EXPECT_EQ(0, qda_rebind("cdsp"));
	for (int i = 0; i < ASKERS; i++) {
		__atomic_store_n(&askers[i].stop, true, __ATOMIC_RELEASE);
		pthread_join(askers[i].thread, NULL);
		EXPECT_EQ(-EPIPE, create(askers[i].fd, UNSIGNED));
		close(askers[i].fd);
	}
	ASSERT_EQ(0, simdsp_cmd(NULL, "script {\"replace\":true}"));
	fd = qda_open_node(CDSP);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(0, create(fd, UNSIGNED));
	close(fd);
}

TEST_HARNESS_MAIN
