// SPDX-License-Identifier: GPL-2.0
/*
 * The published states of the FastRPC library on the accel devices: what they do, in their order.
 *
 * The first argument is the state, "a" or "b". With "secure" behind it runs what a DSP that is not
 * for everybody shows; else the rest, on a CDSP that is and an ADSP that is not.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/inotify.h>

#include "published.h"

#define PATIENCE	qda_patience(10000)
#define NOBODY		65534

/* Static handles, and what is called there. */
#define PROCESS		4
#define EXIT		0x02000000
#define LISTENER	7
#define INIT2		0x05000000
#define NEXT2		0x06020200

/* Methods of the calculator and of the module "simdsp". */
#define SUM		0x02020100
#define MAX		0x03020100
#define SLEEP		0x07010000
#define STATUS		0x08020100
#define HOLD		0x09000000
#define INFO		0x0a000100

const struct library *lib;

/* A call by a thread of its own. */
struct thread {
	pthread_t thread;
	int dev;
	uint32_t handle;
	uint32_t sc;
	struct argument args[4];
	int ret;
	int error;
	bool done;
};

static void *call(void *arg)
{
	struct thread *thread = arg;

	thread->ret = lib->invoke(thread->dev, thread->handle, thread->sc, thread->args);
	thread->error = thread->ret == -1 ? errno : 0;
	__atomic_store_n(&thread->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static void start(struct thread *thread, int dev, uint32_t handle, uint32_t sc)
{
	thread->dev = dev;
	thread->handle = handle;
	thread->sc = sc;
	CHECK_EQ(0, pthread_create(&thread->thread, NULL, call, thread));
}

static int join(struct thread *thread)
{
	pthread_join(thread->thread, NULL);
	return thread->ret;
}

/* The thread that waits for calls of the DSP. */
struct listener {
	struct thread call;
	uint32_t in[4];
	uint32_t out[4];
	uint8_t buffer[256];
};

static void listen_to(struct listener *listener, int dev)
{
	memset(listener, 0, sizeof(*listener));
	listener->in[1] = -1;
	listener->in[3] = sizeof(listener->buffer);
	listener->call.args[0] = plain(listener->in, sizeof(listener->in));
	listener->call.args[1] = plain(NULL, 0);
	listener->call.args[2] = plain(listener->out, sizeof(listener->out));
	listener->call.args[3] = plain(listener->buffer, sizeof(listener->buffer));
	CHECK_EQ(0, lib->invoke(dev, LISTENER, INIT2, NULL));
	start(&listener->call, dev, LISTENER, NEXT2);
}

/* Sum and maximum of the numbers in @numbers, which is @arg to the DSP. */
static void calculate(int dev, uint32_t handle, const int32_t *numbers, uint32_t count,
		      struct argument arg)
{
	int64_t sum = 0, wanted = 0;
	int32_t max = 0, greatest = INT32_MIN;
	struct argument args[3] = { plain(&count, sizeof(count)), arg };

	for (uint32_t i = 0; i < count; i++) {
		wanted += numbers[i];
		greatest = numbers[i] > greatest ? numbers[i] : greatest;
	}
	args[2] = plain(&sum, sizeof(sum));
	CHECK_EQ(0, lib->invoke(dev, handle, SUM, args));
	CHECK_EQ(wanted, sum);
	args[2] = plain(&max, sizeof(max));
	CHECK_EQ(0, lib->invoke(dev, handle, MAX, args));
	CHECK_EQ(greatest, max);
}

static void discovery(void)
{
	char path[64], cdsp[64];

	CHECK(find_device(lib, "cdsp", cdsp));
	CHECK(find_device(lib, "adsp", path));
	CHECK(strcmp(path, cdsp));
	CHECK(!find_device(lib, "cds", path));
	CHECK(!find_device(lib, "", path));

	/* The query that the other state makes is another: both are answered in their form. */
	for (int i = 0; i < 2; i++) {
		const struct library *state = i ? &library_a : &library_b;
		char name[16];
		int dev = open(cdsp, O_RDWR | O_CLOEXEC);

		memset(name, 0xff, sizeof(name));
		CHECK_EQ(0, state->query(dev, name));
		CHECK(!memcmp(name, "cdsp\0\0\0\0\0\0\0\0\0\0\0", sizeof(name)));
		close(dev);
	}
}

/* From the first call to the last one, as for the library's own test of the calculator. */
static void session(void)
{
	static int32_t numbers[1000];
	struct listener listener;
	struct region region;
	uint32_t handle;
	int dev = open_process(lib, "cdsp");

	if (!CHECK(dev >= 0))
		return;
	CHECK_EQ(1, simdsp_stat("cdsp", "user"));
	listen_to(&listener, dev);
	CHECK_EQ(0, open_module(lib, dev, "file:///libcalculator_skel.so?calculator_skel_handle_"
				"invoke&_modver=1.0&_idlver=1.2.3&_dom=cdsp", &handle));
	for (int i = 0; i < 1000; i++)
		numbers[i] = i;
	calculate(dev, handle, numbers, 1000, plain(numbers, sizeof(numbers)));
	CHECK(lib->alloc(dev, sizeof(numbers), &region));
	memcpy(region.map, numbers, sizeof(numbers));
	calculate(dev, handle, numbers, 1000, part(&region, 0, sizeof(numbers)));
	calculate(dev, handle, numbers + 77, 900, part(&region, 4 * 77, 4 * 900));
	lib->free(&region);

	/* The process is told to exit: that ends the listener, and then the session is closed. */
	CHECK(!__atomic_load_n(&listener.call.done, __ATOMIC_ACQUIRE));
	CHECK_EQ(0, lib->invoke(dev, PROCESS, EXIT, NULL));
	CHECK_EQ(BAD_STATE, join(&listener.call));
	close(dev);
	CHECK_EQ(0, simdsp_stat("cdsp", "processes"));
}

/* A module that is not there is an error of the loader, not of the call. */
static void no_module(void)
{
	uint32_t handle;
	int dev = open_process(lib, "cdsp");

	CHECK_EQ(NO_SUCH_MODULE, open_module(lib, dev, "file:///libnone.so", &handle));
	CHECK_EQ(0, open_module(lib, dev, "simdsp", &handle));
	close(dev);
}

/* The session is open with O_NONBLOCK: calls wait all the same. */
static void never_again(void)
{
	struct thread held[4] = { 0 };
	uint32_t handle, ms = 300;
	struct argument arg = plain(&ms, sizeof(ms));
	int dev = open_simdsp(lib, "cdsp", &handle);

	if (!CHECK(dev >= 0))
		return;
	CHECK(fcntl(dev, F_GETFL) & O_NONBLOCK);
	CHECK_EQ(0, lib->invoke(dev, handle, SLEEP, &arg));
	for (int i = 0; i < 4; i++)
		start(&held[i], dev, handle, HOLD);
	CHECK(simdsp_wait_stat("cdsp", "held", 4, PATIENCE));
	CHECK_EQ(0, lib->invoke(dev, handle, SLEEP, &arg));
	for (int i = 0; i < 4; i++)
		CHECK(!__atomic_load_n(&held[i].done, __ATOMIC_ACQUIRE));
	CHECK_EQ(0, simdsp_cmd(NULL, "release-held cdsp 7"));
	for (int i = 0; i < 4; i++)
		CHECK_EQ(7, join(&held[i]));
	close(dev);
}

/* What the DSP says is the value of the ioctl, whatever it is. */
static void statuses(void)
{
	static const int32_t values[] = {
		0, 1, 46, 0x7fffffff, BAD_STATE, UNSUPPORTED, NO_SUCH_MODULE, (int32_t)0x80000001,
	};
	uint32_t handle;
	int dev = open_simdsp(lib, "cdsp", &handle);

	if (!CHECK(dev >= 0))
		return;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		uint32_t in = 0xfeedf00d, out = 0;
		struct argument args[] = {
			plain(&values[i], 4), plain(&in, 4), plain(&out, 4),
		};

		CHECK_EQ(values[i], lib->invoke(dev, handle, STATUS, args));
		/* State B looks at results of calls that succeeded only. */
		if (!values[i] || lib == &library_a)
			CHECK_EQ(in, out);
	}
	/* What the DSP doesn't have. */
	CHECK_EQ(UNSUPPORTED, lib->invoke(dev, handle, 0x1e000000, NULL));
	close(dev);
}

/*
 * EINVAL, ENOTTY and ENXIO of an attach count as success, EPIPE and ECONNRESET mean that the DSP
 * has gone, and ECONNREFUSED that an unsigned process may do: nothing else may fail so.
 */
static void errnos(void)
{
	static const char name[] = "audiopd";
	uint32_t handle;
	int dev;

	/* A session without a process. */
	dev = open_session(lib, "cdsp");
	CHECK(dev >= 0);
	errno = 0;
	CHECK_EQ(-1, open_module(lib, dev, "simdsp", &handle));
	CHECK_EQ(ENOTCONN, errno);

	/* The name of a static process is no program; the session still gets a process. */
	CHECK_EQ(-1, lib->create(dev, name, sizeof(name), NO_BUFFER, 0, 0));
	CHECK_EQ(ENOEXEC, errno);

	CHECK_EQ(0, lib->attach(dev));
	errno = 0;
	CHECK_EQ(-1, lib->attach(dev));
	CHECK_EQ(EEXIST, errno);
	CHECK_EQ(-1, lib->create(dev, NULL, 0, NO_BUFFER, UNSIGNED_MODULE, 0));
	CHECK_EQ(EEXIST, errno);
	close(dev);

	/* No unsigned processes there. */
	dev = open_session(lib, "adsp");
	errno = 0;
	CHECK_EQ(-1, lib->create(dev, NULL, 0, NO_BUFFER, UNSIGNED_MODULE, 0));
	CHECK_EQ(ECONNREFUSED, errno);
	close(dev);
}

/* The root process, and in place of the sensors process the root process as well. */
static void attach(void)
{
	struct { uint32_t client, tid, pd, bank; uint64_t ctx, served; } info = { 0 };
	struct argument arg = plain(&info, sizeof(info));
	uint32_t handle;

	for (int i = 0; i < 2; i++) {
		const char *dsp = i ? "adsp" : "cdsp";
		int dev = open_session(lib, dsp);

		CHECK(dev >= 0);
		CHECK_EQ(0, lib->attach(dev));
		CHECK_EQ(1, simdsp_stat(dsp, "root"));
		CHECK_EQ(0, open_module(lib, dev, "simdsp", &handle));
		CHECK_EQ(0, lib->invoke(dev, handle, INFO, &arg));
		CHECK_EQ(0, info.pd);
		close(dev);
		CHECK_EQ(0, simdsp_stat(dsp, "root"));
	}
}

/* A program of the client's own, in a buffer and in other memory, with and without signature. */
static void programs(void)
{
	static const char elf[] = "\177ELF\2\1\1";
	struct region region;
	uint32_t handle;

	for (int i = 0; i < 4; i++) {
		int dev = open_session(lib, "cdsp"), number;
		int length = 100000 + i, siglen = i & 1 ? 1000 : 0;

		if (!CHECK(dev >= 0) || !CHECK(lib->alloc(dev, length, &region)))
			return;
		fill(region.map, length, i);
		memcpy(region.map, elf, sizeof(elf));
		number = i & 2 ? NO_BUFFER : region.number;
		CHECK_EQ(0, lib->create(dev, region.map, length, number, UNSIGNED_MODULE, siglen));
		/* The program is freed as soon as there is the process. */
		lib->free(&region);
		CHECK_EQ(0, open_module(lib, dev, "simdsp", &handle));
		close(dev);
	}
}

/* More sessions than one, and queries all the time: these take nothing from anybody. */
static void sessions(void)
{
	uint32_t handles[3], in = 1, out;
	char path[64];
	int devs[3];

	for (int i = 0; i < 3; i++) {
		devs[i] = open_simdsp(lib, "cdsp", &handles[i]);
		CHECK(devs[i] >= 0);
		for (int j = 0; j < 10; j++)
			CHECK(find_device(lib, "adsp", path));
	}
	for (int i = 0; i < 3; i++, in++) {
		CHECK_EQ(0, echo(lib, devs[i], handles[i], plain(&in, 4), plain(&out, 4)));
		CHECK_EQ(in, out);
		close(devs[i]);
	}
}

/* Waits for an event of a node of the directory of accelerators. */
static bool wait_event(int events, uint32_t wanted, const char *but, char name[64])
{
	struct pollfd fd = { events, POLLIN, 0 };
	char buffer[4096] __attribute__((aligned(8)));

	while (poll(&fd, 1, PATIENCE) == 1) {
		ssize_t length = read(events, buffer, sizeof(buffer));

		for (char *at = buffer; at < buffer + length;) {
			struct inotify_event *event = (struct inotify_event *)at;

			at += sizeof(*event) + event->len;
			if (!(event->mask & wanted) || strncmp(event->name, "accel", 5) ||
			    !strcmp(event->name, but))
				continue;
			snprintf(name, 64, "%.50s", event->name);
			return true;
		}
	}
	return false;
}

/*
 * The DSP restarts: a thread that waits learns of it by EPIPE, the node goes, and one of another
 * number comes, since the old one is open. A new session has all that the old one had.
 */
static void restart(void)
{
	char old[64], gone[64], came[64], path[64];
	struct listener listener;
	struct region region;
	uint32_t handle;
	uint8_t out[1000];
	int dev, events = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	CHECK(inotify_add_watch(events, ACCEL,
				IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_MOVED_FROM) >= 0);
	dev = open_simdsp(lib, "cdsp", &handle);
	if (!CHECK(dev >= 0) || !CHECK(find_device(lib, "cdsp", old)) ||
	    !CHECK(lib->alloc(dev, 65536, &region)))
		return;
	fill(region.map, 65536, 4);
	listen_to(&listener, dev);
	CHECK(simdsp_wait_stat("cdsp", "listeners", 1, PATIENCE));
	CHECK_EQ(0, simdsp_cmd(NULL, "restart cdsp 500"));
	CHECK_EQ(-1, join(&listener.call));
	CHECK_EQ(EPIPE, listener.call.error);
	CHECK(wait_event(events, IN_DELETE, "", gone));
	CHECK(!strcmp(strrchr(old, '/') + 1, gone));
	CHECK(wait_event(events, IN_CREATE, gone, came));

	/* The node may be there a moment before it can be opened. */
	for (int i = 0; i < PATIENCE / 10 && !find_device(lib, "cdsp", path); i++)
		usleep(10000);
	CHECK(!strcmp(strrchr(path, '/') + 1, came));
	errno = 0;
	CHECK_EQ(-1, echo(lib, dev, handle, part(&region, 0, 1), part(&region, 1, 1)));
	CHECK(errno == ENODEV || errno == EPIPE);
	close(dev);

	/* The library closes the session and opens one anew; memory that it has stays good. */
	dev = open_simdsp(lib, "cdsp", &handle);
	if (!CHECK(dev >= 0))
		return;
	if (lib == &library_a)
		region.number = region.dmabuf;
	CHECK_EQ(0, echo(lib, dev, handle, part(&region, 33, 1000), plain(out, 1000)));
	CHECK(!memcmp(out, region.map + 33, 1000));
	lib->free(&region);
	close(dev);
	close(events);
}

/* A DSP that is for privileged programs: what the others are told. */
static void unprivileged(void)
{
	char path[64];
	uint32_t handle;
	int dev;

	if (!CHECK(find_device(lib, "cdsp", path)))
		return;
	dev = open_session(lib, "cdsp");
	CHECK(dev >= 0);
	CHECK_EQ(0, seteuid(NOBODY));
	errno = 0;
	CHECK_EQ(-1, lib->attach(dev));
	CHECK_EQ(EACCES, errno);
	CHECK_EQ(-1, lib->create(dev, NULL, 0, NO_BUFFER, 0, 0));
	CHECK_EQ(ECONNREFUSED, errno);
	/* The library then tries this. */
	CHECK_EQ(0, lib->create(dev, NULL, 0, NO_BUFFER, UNSIGNED_MODULE, 0));
	CHECK_EQ(0, open_module(lib, dev, "simdsp", &handle));
	CHECK_EQ(0, seteuid(0));
	close(dev);
}

/* The daemons: the root process of the ADSP; and the audio process, which is not to be had. */
static void daemons(void)
{
	static const char name[] = "audiopd";
	struct listener listener;
	struct region region;
	int dev = open_session(lib, "adsp");

	CHECK(dev >= 0);
	CHECK_EQ(0, lib->attach(dev));
	listen_to(&listener, dev);
	CHECK(simdsp_wait_stat("adsp", "listeners", 1, PATIENCE));
	CHECK_EQ(0, simdsp_cmd(NULL, "complete-listener adsp 0x8000040d"));
	CHECK_EQ(BAD_STATE, join(&listener.call));
	close(dev);

	/* It makes a process with the name for a program, which stands in a buffer. */
	dev = open_session(lib, "adsp");
	CHECK(dev >= 0 && lib->alloc(dev, sizeof(name), &region));
	memcpy(region.map, name, sizeof(name));
	errno = 0;
	CHECK_EQ(-1, lib->create(dev, region.map, sizeof(name), NO_BUFFER, 0, 0));
	CHECK_EQ(ENOEXEC, errno);
	CHECK_EQ(0, simdsp_stat("adsp", "processes"));
	lib->free(&region);
	close(dev);
}

static const struct tap_test everywhere[] = {
	{ "discovery", discovery },
	{ "session", session },
	{ "no_module", no_module },
	{ "never_again", never_again },
	{ "statuses", statuses },
	{ "errnos", errnos },
	{ "attach", attach },
	{ "programs", programs },
	{ "sessions", sessions },
};

/* The first accelerator, which state A has its memory from, may come back as another. */
static const struct tap_test last = { "restart", restart };

static const struct tap_test secure[] = {
	{ "unprivileged", unprivileged },
	{ "daemons", daemons },
};

#define COUNT(tests)	((int)(sizeof(tests) / sizeof(tests[0])))

int main(int argc, char **argv)
{
	struct tap_test tests[64];
	char names[64][64];
	int count = 0, own;

	if (argc < 2 || (strcmp(argv[1], "a") && strcmp(argv[1], "b"))) {
		fprintf(stderr, "usage: %s a|b [secure]\n", argv[0]);
		return 2;
	}
	lib = argv[1][0] == 'a' ? &library_a : &library_b;
	if (argc > 2) {
		memcpy(tests, secure, sizeof(secure));
		count = COUNT(secure);
	} else {
		memcpy(tests, everywhere, sizeof(everywhere));
		count = COUNT(everywhere);
		for (own = 0; own < memory_count; own++)
			tests[count++] = memory_tests[own];
		for (own = 0; own < lib->own_count; own++)
			tests[count++] = lib->own_tests[own];
		tests[count++] = last;
	}
	for (int i = 0; i < count; i++) {
		snprintf(names[i], sizeof(names[i]), "published_%s.%.40s", lib->name,
			 tests[i].name);
		tests[i].name = names[i];
	}
	return tap_run(tests, count);
}
