// SPDX-License-Identifier: GPL-2.0
/*
 * A program that uses a DSP through Debian's libfastrpc1 and its public header.
 *
 * The argument "poll" runs what needs a DSP that can be polled, in place of the rest.
 */
#include <stdint.h>

#include <AEEStdErr.h>
#include <remote.h>
#include <rpcmem.h>

#include "client.h"

#define DSP		"cdsp"
#define FILES		"/tmp/dsp"
#define COUNT		1000
#define UNREGISTERED	(-1)

/* What the DSP answers to a call that it has held. */
#define ANSWER		21

/* Architecture that the simulated DSP has. */
#define ARCHITECTURE	0x73

#define URI(module)	"file:///lib" module "_skel.so?" module "_skel_handle_invoke&_modver=1.0" \
			CDSP_DOMAIN

/* Methods of the calculator. */
#define SUM	REMOTE_SCALARS_MAKE(2, 2, 1)
#define MAX	REMOTE_SCALARS_MAKE(3, 2, 1)

/* Methods of the module "simdsp". */
#define ECHO	REMOTE_SCALARS_MAKE(2, 1, 1)
#define STATUS	REMOTE_SCALARS_MAKE(8, 1, 0)
#define HOLD	REMOTE_SCALARS_MAKE(9, 0, 0)
#define HANDLES	REMOTE_SCALARS_MAKEX(0, 12, 1, 1, 1, 0)
#define MAPPED	REMOTE_SCALARS_MAKE(14, 1, 1)

static remote_arg buffer(const void *data, size_t len)
{
	return (remote_arg) { .buf = { (void *)data, len } };
}

/* FNV-1a, as the module "simdsp" has it. */
static uint64_t checksum(const void *data, size_t len)
{
	const unsigned char *byte = data;
	uint64_t hash = 0xcbf29ce484222325;

	while (len--)
		hash = (hash ^ *byte++) * 0x100000001b3;
	return hash;
}

/* Opens a module in an unsigned process. */
static bool open_unsigned(const char *uri, remote_handle64 *handle)
{
	struct remote_rpc_control_unsigned_module control = { CDSP_DOMAIN_ID, 1 };

	return CHECK_EQ(0, remote_session_control(DSPRPC_CONTROL_UNSIGNED_MODULE, &control,
						  sizeof(control))) &&
	       CHECK_EQ(0, remote_handle64_open(uri, handle));
}

/* Begins a test, with a module. */
static bool start(const char *uri, remote_handle64 *handle)
{
	client_begin();
	log_open();
	mkdir(FILES, 0755);
	setenv("ADSP_LIBRARY_PATH", FILES, 1);
	return open_unsigned(uri, handle) && CHECK_EQ(1, simdsp_stat(DSP, "user"));
}

/* Closes the last module: the library ends the process, and with it goes all that it had. */
static void end(remote_handle64 handle)
{
	CHECK_EQ(0, remote_handle64_close(handle));
	CHECK(simdsp_wait_stat(DSP, "processes", 0, PATIENCE));
	CHECK_EQ(0, simdsp_stat(DSP, "listeners"));
	CHECK_EQ(0, simdsp_stat(DSP, "outstanding"));
	CHECK_EQ(0, simdsp_stat(DSP, "maps"));
}

/* Sum and maximum of numbers that stand in @numbers. */
static void calculate(remote_handle64 handle, int32_t *numbers, uint32_t count, int32_t seed)
{
	int64_t sum = -1, wanted = 0;
	int32_t max = -1, largest = INT32_MIN;
	remote_arg args[3] = { buffer(&count, sizeof(count)), buffer(numbers, 4 * count) };

	for (uint32_t i = 0; i < count; i++) {
		numbers[i] = seed + i * (seed | 1);
		wanted += numbers[i];
		if (numbers[i] > largest)
			largest = numbers[i];
	}
	args[2] = buffer(&sum, sizeof(sum));
	CHECK_EQ(0, remote_handle64_invoke(handle, SUM, args));
	CHECK_EQ(wanted, sum);
	args[2] = buffer(&max, sizeof(max));
	CHECK_EQ(0, remote_handle64_invoke(handle, MAX, args));
	CHECK_EQ(largest, max);
}

static void calculates(void)
{
	static int32_t numbers[COUNT];
	remote_handle64 handle;
	int64_t sum = 0;
	uint32_t count = COUNT;
	remote_arg args[] = {
		buffer(&count, sizeof(count)), buffer(numbers, sizeof(numbers)),
		buffer(&sum, sizeof(sum)),
	};

	if (!start(URI("calculator"), &handle))
		return;
	for (int i = 0; i < COUNT; i++)
		numbers[i] = i;
	CHECK_EQ(0, remote_handle64_invoke(handle, SUM, args));
	CHECK_EQ(499500, sum);
	for (int seed = -3; seed < 4; seed++)
		calculate(handle, numbers, COUNT, seed);
	end(handle);
}

static void calculates_in_shared_memory(void)
{
	static const uint32_t counts[] = { 1, 1024, 1025, 262144 };
	remote_handle64 handle;

	if (!start(URI("calculator"), &handle))
		return;
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		int32_t *numbers = rpcmem_alloc(RPCMEM_HEAP_ID_SYSTEM, RPCMEM_DEFAULT_FLAGS,
						4 * counts[i]);

		if (!CHECK(numbers))
			break;
		CHECK(rpcmem_to_fd(numbers) > 0);
		calculate(handle, numbers, counts[i], 17 * i);
		/* From the middle of a page of the buffer. */
		if (counts[i] > 2000)
			calculate(handle, numbers + 1001, counts[i] - 1500, 5);
		rpcmem_free(numbers);
	}
	end(handle);
}

static void queries_capabilities(void)
{
	struct remote_dsp_capability capability = { CDSP_DOMAIN_ID, ARCH_VER, 0 };

	client_begin();
	CHECK_EQ(0, remote_handle_control(DSPRPC_GET_DSP_INFO, &capability, sizeof(capability)));
	CHECK_EQ(ARCHITECTURE, capability.capability);
	capability.attribute_ID = UNSIGNED_PD_SUPPORT;
	CHECK_EQ(0, remote_handle_control(DSPRPC_GET_DSP_INFO, &capability, sizeof(capability)));
	CHECK_EQ(1, capability.capability);
	CHECK(simdsp_wait_stat(DSP, "outstanding", 0, PATIENCE));
}

static void gets_the_status(void)
{
	static const int statuses[] = { 1, 0x4e, (int)0x80000414, 0x7fffffff };
	remote_handle64 handle, none;

	if (!start(URI("simdsp"), &handle))
		return;
	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
		remote_arg args[] = { buffer(&statuses[i], sizeof(statuses[i])) };

		CHECK_EQ(statuses[i], remote_handle64_invoke(handle, STATUS, args));
	}
	CHECK(remote_handle64_open(URI("no_such_module"), &none));
	end(handle);
}

static void maps_memory(void)
{
	const size_t len = 3 * 65536;
	remote_handle64 handle;
	unsigned char *memory;
	int fd;

	if (!start(URI("simdsp"), &handle))
		return;
	memory = rpcmem_alloc(RPCMEM_HEAP_ID_SYSTEM, RPCMEM_DEFAULT_FLAGS, len);
	fd = rpcmem_to_fd(memory);
	if (!CHECK(memory) || !CHECK(fd > 0))
		return;
	for (int i = 0; i < 3; i++) {
		uint32_t in[] = { fd, 4096 * i + 5, 70000, 0 };
		uint64_t seen = 0;
		remote_arg args[] = { buffer(in, sizeof(in)), buffer(&seen, sizeof(seen)) };

		for (size_t j = 0; j < len; j++)
			memory[j] = j * 13 + j / 4096 + i;
		CHECK_EQ(0, fastrpc_mmap(CDSP_DOMAIN_ID, fd, memory, 0, len, FASTRPC_MAP_FD));
		CHECK_EQ(1, simdsp_stat(DSP, "maps"));
		CHECK_EQ(0, remote_handle64_invoke(handle, MAPPED, args));
		CHECK(checksum(memory + in[1], in[2]) == seen);
		/* The DSP writes: byte 131 of the pattern follows byte 0. */
		in[3] = 1;
		CHECK_EQ(0, remote_handle64_invoke(handle, MAPPED, args));
		CHECK_EQ(0, memory[in[1]]);
		CHECK_EQ(131, memory[in[1] + 1]);
		CHECK(checksum(memory + in[1], in[2]) == seen);
		/* A number is mapped once. */
		CHECK(fastrpc_mmap(CDSP_DOMAIN_ID, fd, memory, 0, len, FASTRPC_MAP_FD));
		CHECK_EQ(0, fastrpc_munmap(CDSP_DOMAIN_ID, fd, memory, len));
		CHECK_EQ(0, simdsp_stat(DSP, "maps"));
	}
	rpcmem_free(memory);
	end(handle);
}

/* A buffer by its number and a range, as an argument. */
static void passes_handles(void)
{
	const size_t len = 65536;
	remote_handle64 handle;
	unsigned char *memory;
	uint64_t seen = 0;
	uint32_t seed = 7;
	remote_arg args[3] = { buffer(&seed, sizeof(seed)), buffer(&seen, sizeof(seen)) };

	if (!start(URI("simdsp"), &handle))
		return;
	memory = rpcmem_alloc(RPCMEM_HEAP_ID_SYSTEM, RPCMEM_DEFAULT_FLAGS, len);
	if (!CHECK(memory))
		return;
	for (size_t i = 0; i < len; i++)
		memory[i] = i * 29 + i / 256;
	args[2].dma = (remote_dma_handle) { rpcmem_to_fd(memory), 4100 };
	CHECK_EQ(0, remote_register_dma_handle(rpcmem_to_fd(memory), 9000));
	CHECK_EQ(0, remote_handle64_invoke(handle, HANDLES, args));
	CHECK(checksum(memory + 4100, 9000) == seen);
	rpcmem_free(memory);
	end(handle);
}

/* The library's listener serves the DSP while the program does something else. */
static void serves_files(void)
{
	remote_handle64 handle;

	if (!start(URI("simdsp"), &handle))
		return;
	CHECK(simdsp_wait_stat(DSP, "listeners", 1, PATIENCE));
	client_has_services(DSP);
	client_reads_file(DSP, FILES);
	end(handle);
}

struct worker {
	pthread_t thread;
	remote_handle64 handle;
	int seed;
	int bad;
};

static void *work(void *arg)
{
	struct worker *worker = arg;
	unsigned char in[3000], out[sizeof(in)];
	remote_arg args[] = { buffer(in, sizeof(in)), buffer(out, sizeof(out)) };

	for (int i = 0; i < 100; i++) {
		memset(in, worker->seed + i, sizeof(in));
		memset(out, 0, sizeof(out));
		if (remote_handle64_invoke(worker->handle, ECHO, args) ||
		    memcmp(in, out, sizeof(in)))
			worker->bad++;
	}
	return NULL;
}

static void calls_from_threads(void)
{
	struct worker workers[4];
	remote_handle64 handle;

	if (!start(URI("simdsp"), &handle))
		return;
	for (int i = 0; i < 4; i++) {
		workers[i] = (struct worker) { .handle = handle, .seed = 50 * i };
		CHECK_EQ(0, pthread_create(&workers[i].thread, NULL, work, &workers[i]));
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(workers[i].thread, NULL);
		CHECK_EQ(0, workers[i].bad);
	}
	end(handle);
}

/*
 * A program whose threads both wait for the DSP, the library's for it to call and the program's own
 * for the answer to a call, is kept from running; then it gets the answer.
 */
static void parked(void (*disturb)(pid_t pid, const char *dsp, const char *dir))
{
	pid_t pid;

	client_begin();
	log_open();
	mkdir(FILES, 0755);
	setenv("ADSP_LIBRARY_PATH", FILES, 1);
	pid = fork();
	if (!pid) {
		remote_handle64 handle;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (!open_unsigned(URI("simdsp"), &handle))
			_exit(1);
		CHECK_EQ(ANSWER, remote_handle64_invoke(handle, HOLD, NULL));
		CHECK_EQ(0, remote_handle64_close(handle));
		_exit(tap_failed);
	}
	if (CHECK(simdsp_wait_stat(DSP, "listeners", 1, PATIENCE)) &&
	    CHECK(simdsp_wait_stat(DSP, "held", 1, PATIENCE)))
		disturb(pid, DSP, FILES);
	/* With calls that were sent again the library's end takes long, and is not the point. */
	if (client_resends()) {
		client_is_released(pid, DSP, SIGKILL);
		return;
	}
	CHECK_EQ(0, simdsp_cmd(NULL, "release-held " DSP " %d", ANSWER));
	CHECK_EQ(0, client_end(pid));
	CHECK(simdsp_wait_stat(DSP, "processes", 0, PATIENCE));
	CHECK_EQ(0, simdsp_stat(DSP, "listeners"));
	CHECK_EQ(0, simdsp_stat(DSP, "outstanding"));
}

static void frozen(void)
{
	parked(client_thaws);
	CHECK_EQ(0, freezer_umount());
}

static void suspended(void)
{
	parked(client_resumes);
}

static void killed(void)
{
	pid_t pid;

	client_begin();
	log_open();
	pid = fork();
	if (!pid) {
		remote_handle64 handle;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (!open_unsigned(URI("simdsp"), &handle))
			_exit(1);
		pause();
	}
	CHECK(simdsp_wait_stat(DSP, "listeners", 1, PATIENCE));
	client_is_released(pid, DSP, SIGKILL);
}

/* Answers are awaited by looking at the poll word; the DSP has been told to write it. */
static void polls(void)
{
	struct remote_rpc_control_latency control = { RPC_POLL_QOS, 10000 };
	static int32_t numbers[COUNT];
	remote_handle64 handle;

	if (!start(URI("calculator"), &handle))
		return;
	CHECK_EQ(0, remote_handle64_control(handle, DSPRPC_CONTROL_LATENCY, &control,
					    sizeof(control)));
	CHECK_EQ(1, simdsp_stat(DSP, "polled"));
	for (int seed = 1; seed < 20; seed++)
		calculate(handle, numbers, COUNT, seed);
	control.enable = RPC_DISABLE_QOS;
	CHECK_EQ(0, remote_handle64_control(handle, DSPRPC_CONTROL_LATENCY, &control,
					    sizeof(control)));
	calculate(handle, numbers, COUNT, 1);
	end(handle);
}

static const struct tap_test tests[] = {
	{ "libfastrpc1.calculates", calculates },
	{ "libfastrpc1.calculates_in_shared_memory", calculates_in_shared_memory },
	{ "libfastrpc1.queries_capabilities", queries_capabilities },
	{ "libfastrpc1.gets_the_status", gets_the_status },
	{ "libfastrpc1.maps_memory", maps_memory },
	{ "libfastrpc1.passes_handles", passes_handles },
	{ "libfastrpc1.serves_files", serves_files },
	{ "libfastrpc1.calls_from_threads", calls_from_threads },
	{ "libfastrpc1.frozen", frozen },
	{ "libfastrpc1.suspended", suspended },
	{ "libfastrpc1.killed", killed },
};

static const struct tap_test poll_tests[] = {
	{ "libfastrpc1.polls", polls },
};

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "poll"))
		return tap_run(poll_tests, sizeof(poll_tests) / sizeof(poll_tests[0]));
	return tap_run(tests, sizeof(tests) / sizeof(tests[0]));
}
