/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * User interface of the Qualcomm DSP accelerator (QDA) driver.
 *
 * Every DSP of the machine is one accel device, /dev/accel/accelN. A client opens it, makes a DSP
 * process (DRM_QDA_INIT_CREATE) or attaches to one that exists (DRM_QDA_INIT_ATTACH), allocates
 * buffers (DRM_QDA_GEM_CREATE) and calls remote functions (DRM_QDA_INVOKE). Closing the last
 * descriptor of the file ends the DSP process and everything that it holds.
 *
 * Sizes, offsets and lengths are in bytes. Numbers 0 to 7 serve both published states of the
 * FastRPC library, which encode some of them with different sizes; the driver accepts either.
 *
 * Any ioctl of this file fails with ENODEV once the DSP has gone, and with EINVAL if its number is
 * not listed here. What needs the file's DSP process fails with EPIPE once the DSP has said that it
 * has died.
 */

#ifndef __QDA_ACCEL_H__
#define __QDA_ACCEL_H__

#include "drm.h"

#if defined(__cplusplus)
extern "C" {
#endif

/** define QDA_NAME_LEN - size of a DSP's name, with its terminating NUL. */
#define QDA_NAME_LEN		16

/**
 * define QDA_MAX_BUFFER_SIZE - largest buffer that DRM_QDA_GEM_CREATE makes on any DSP: 2 GiB. On
 * a DSP whose banks have 32 bits it is 1 GiB, see QDA_PARAM_MAX_BUFFER.
 */
#define QDA_MAX_BUFFER_SIZE	0x80000000ULL

/** define QDA_MAX_INLINE_SIZE - most inline data of one DRM_QDA_INVOKE, all arguments: 64 MiB. */
#define QDA_MAX_INLINE_SIZE	0x04000000ULL

/** define QDA_MAX_SHELL_SIZE - largest program image that DRM_QDA_INIT_CREATE takes: 2 MiB. */
#define QDA_MAX_SHELL_SIZE	0x00200000ULL

/*
 * DRM_QDA_QUERY
 */

/** define QDA_QUERY_LEGACY - what an argument without input (the older library) asks for. */
#define QDA_QUERY_LEGACY	0
/** define QDA_QUERY_DSP_NAME - the name of the DSP in &drm_qda_query.dsp_name. */
#define QDA_QUERY_DSP_NAME	1

/**
 * struct drm_qda_query - ask which DSP a device is
 *
 * A name is the ``label`` of the DSP's device-tree node, e.g. "cdsp", NUL-terminated and
 * zero-filled.
 *
 * The older library encodes the ioctl as a 20-byte output, &struct drm_qda_query_legacy, so the
 * driver sees @query_type 0 and answers in that layout.
 *
 * Errors:
 *
 * * EINVAL: @query_type is unknown, or @pad is not 0.
 */
struct drm_qda_query {
	/** @query_type: in: one of QDA_QUERY_*. */
	__u32 query_type;
	/** @pad: must be 0. */
	__u32 pad;
	/** @dsp_name: out: name of the DSP. */
	__u8 dsp_name[QDA_NAME_LEN];
	/** @reserved: out: 0. */
	__u64 reserved[2];
};

/**
 * struct drm_qda_query_legacy - what DRM_QDA_QUERY returns for QDA_QUERY_LEGACY
 */
struct drm_qda_query_legacy {
	/** @dsp_name: out: name of the DSP. */
	__u8 dsp_name[QDA_NAME_LEN];
	/** @capabilities: out: 0; nothing is announced here. */
	__u32 capabilities;
};

/*
 * Buffers
 */

/**
 * struct drm_qda_gem_create - allocate a buffer
 *
 * The buffer is zero-filled, its size rounded up to whole pages. It holds no DSP resource until a
 * call uses it. Close it with DRM_IOCTL_GEM_CLOSE.
 *
 * Errors:
 *
 * * EINVAL: @size is 0.
 * * E2BIG: @size is above QDA_PARAM_MAX_BUFFER.
 * * ENOSPC: the file has too much already, see &struct drm_qda_buffer_create.
 * * ENOMEM: out of memory.
 */
struct drm_qda_gem_create {
	/** @size: in: size in bytes. */
	__u64 size;
	/** @handle: out: the GEM handle, never 0. */
	__u32 handle;
	/** @pad: ignored: the older library leaves padding here. */
	__u32 pad;
};

/**
 * struct drm_qda_gem_mmap_offset - get the offset at which mmap() maps a buffer
 *
 * The older library passes {handle, pad, offset} instead; that form is known by its first eight
 * bytes, which are not 0, and is answered in its own layout
 * (&struct drm_qda_gem_mmap_offset_legacy).
 *
 * Errors:
 *
 * * EINVAL: @pad is not 0, or the buffer was imported (map it through its exporter).
 * * ENOENT: no such handle.
 */
struct drm_qda_gem_mmap_offset {
	/** @offset: out: what to pass to mmap(); in: 0. */
	__u64 offset;
	/** @handle: in: GEM handle. */
	__u32 handle;
	/** @pad: must be 0. */
	__u32 pad;
};

/**
 * struct drm_qda_gem_mmap_offset_legacy - the older library's DRM_QDA_GEM_MMAP_OFFSET
 */
struct drm_qda_gem_mmap_offset_legacy {
	/** @handle: in: GEM handle. */
	__u32 handle;
	/** @pad: must be 0. */
	__u32 pad;
	/** @offset: out: what to pass to mmap(). */
	__u64 offset;
};

/*
 * DSP processes
 *
 * DRM_QDA_INIT_ATTACH takes no argument. It makes the file a client of the DSP's root process.
 * Errors: EACCES: the caller has no CAP_SYS_ADMIN and the node is not a non-secure domain;
 * EEXIST: the file has a DSP process already; EBUSY: no context bank is free; else as
 * DRM_QDA_INIT_CREATE.
 */

/** define QDA_PROC_ATTR_DEBUG - the process may be debugged. */
#define QDA_PROC_ATTR_DEBUG		(1 << 0)
/** define QDA_PROC_ATTR_PTRACE - the process waits for a debugger. */
#define QDA_PROC_ATTR_PTRACE		(1 << 1)
/** define QDA_PROC_ATTR_CRC - arguments carry checksums. */
#define QDA_PROC_ATTR_CRC		(1 << 2)
/** define QDA_PROC_ATTR_UNSIGNED - an unsigned process: any user may make one. */
#define QDA_PROC_ATTR_UNSIGNED		(1 << 3)
/** define QDA_PROC_ATTR_ADAPTIVE_QOS - adaptive quality of service. */
#define QDA_PROC_ATTR_ADAPTIVE_QOS	(1 << 4)
/** define QDA_PROC_ATTR_SYSTEM - a system process. */
#define QDA_PROC_ATTR_SYSTEM		(1 << 5)
/** define QDA_PROC_ATTR_PRIVILEGED - a privileged process; needs privilege. */
#define QDA_PROC_ATTR_PRIVILEGED	(1 << 6)

/**
 * struct drm_qda_init_create - make a user process on the DSP
 *
 * The DSP loads the program image (the "shell", an ELF file) from the buffer @filehandle, which
 * stays mapped until the process ends, or, with @filehandle 0 or -1, from a copy of @filelen bytes
 * at @file. With @filelen 0 the DSP uses a shell of its own and both are ignored. In a buffer the
 * image begins where the caller has it mapped at @file, and at its start if it is not mapped there.
 *
 * The ioctl's value is the DSP's status: 0, or what the DSP answered when it refused. Bits of
 * @attrs that have no name here go to the DSP as they are.
 *
 * Errors:
 *
 * * ECONNREFUSED: a signed or privileged process, and the caller has no CAP_SYS_ADMIN and the node
 *   is not a non-secure domain; or an unsigned process on a DSP that has none (only CDSPs and GDSPs
 *   have).
 * * EEXIST: the file has a DSP process already.
 * * EBUSY: no context bank is free.
 * * E2BIG: @filelen is above QDA_MAX_SHELL_SIZE.
 * * EINVAL: @siglen is above @filelen, or the buffer is smaller than @filelen.
 * * ENOEXEC: the image at @file is not an ELF file.
 * * ENOENT: no such handle.
 * * EFAULT: @file cannot be read.
 * * EOPNOTSUPP: the buffer has no single range of DSP addresses.
 * * ENOSPC: too many calls are outstanding on the DSP.
 * * ENOMEM: out of memory, or of DSP addresses.
 * * ETIMEDOUT: the DSP did not answer for ten seconds, or made no room for the call.
 * * EAGAIN: the DSP refused room for the call.
 * * EINTR: a fatal signal came while waiting.
 * * EREMOTEIO: the DSP's status is a number that the kernel keeps to itself (-512 to -530).
 * * EPIPE: the DSP restarted while waiting.
 */
struct drm_qda_init_create {
	/** @filelen: in: size of the image, or 0. */
	__u32 filelen;
	/**
	 * @filehandle: in: GEM handle of the image, or file descriptor of its dma-buf; 0 or -1:
	 * none.
	 */
	__u32 filehandle;
	/** @attrs: in: QDA_PROC_ATTR_*. */
	__u32 attrs;
	/** @siglen: in: size of the signature at the end of the image. */
	__u32 siglen;
	/** @file: in: address of the image. */
	__u64 file;
};

/*
 * DRM_QDA_MAP and DRM_QDA_MUNMAP
 */

/** define QDA_MAP_REQUEST_LEGACY - grow the heap of the DSP process. */
#define QDA_MAP_REQUEST_LEGACY		1
/** define QDA_MAP_REQUEST_ATTR - map a buffer into the DSP process. */
#define QDA_MAP_REQUEST_ATTR		2

/** define QDA_HEAP_ADD - &drm_qda_mem_map.flags of a heap: ordinary memory. */
#define QDA_HEAP_ADD			0x1000
/** define QDA_HEAP_ADD_LLC - &drm_qda_mem_map.flags of a heap: the DSP may use the system cache. */
#define QDA_HEAP_ADD_LLC		0x3000

/** define QDA_MAP_STATIC - map for as long as the process lives. */
#define QDA_MAP_STATIC			0
/** define QDA_MAP_RESERVED - reserved by the protocol, passed on. */
#define QDA_MAP_RESERVED		1
/** define QDA_MAP_FD - map now, by number. */
#define QDA_MAP_FD			2
/** define QDA_MAP_FD_DELAYED - the DSP maps it when its code asks for it. */
#define QDA_MAP_FD_DELAYED		3
/** define QDA_MAP_FD_NOMAP - make the buffer known by its number only. */
#define QDA_MAP_FD_NOMAP		16

/**
 * struct drm_qda_mem_map - give memory to the DSP process
 *
 * QDA_MAP_REQUEST_ATTR makes @size bytes of a buffer known to the DSP process, as a number: the one
 * that calls pass as a handle argument, and that the DSP's code passes to its own functions. It is
 * @dsp_handle, or @handle where that is 0. One number means one buffer for as long as the DSP holds
 * it, whether it was mapped or passed with a call.
 *
 * QDA_MAP_REQUEST_LEGACY adds @size bytes to the heap of the DSP process: of a buffer, or, with
 * @handle 0 or -1, of memory that the kernel allocates.
 *
 * The range begins where the caller has the buffer mapped at @vaddrin, which must be a multiple of
 * 4096, and at the start of the buffer if it is not mapped there. @handle may also be the file
 * descriptor of a dma-buf: where both a GEM handle and a descriptor have that number, the buffer
 * that is mapped at @vaddrin is meant, else the handle.
 *
 * The memory stays with the DSP until DRM_QDA_MUNMAP, or the end of the process; closing the handle
 * changes nothing.
 *
 * The ioctl's value is the DSP's status, as that of DRM_QDA_INVOKE. Errors:
 *
 * * EINVAL: @request or @flags is unknown, @attrs or @offset is not 0, @size is 0 or reaches past
 *   the end of the buffer, the range does not begin at a multiple of 4096, or @vaddrin is not 0
 *   where the kernel is to allocate.
 * * ENOENT: no such handle.
 * * EEXIST: the DSP holds another buffer under the number, or has mapped this one already.
 * * E2BIG: the kernel is to allocate more than QDA_PARAM_MAX_BUFFER.
 * * ENOTCONN: the file has no DSP process.
 * * EOPNOTSUPP: the buffer has no single range of DSP addresses.
 * * ENOSPC: the DSP process holds 1024 numbers, or pieces of heap, or too many calls are
 *   outstanding.
 * * ENOMEM: out of memory, or of DSP addresses.
 * * ETIMEDOUT: the DSP did not answer for ten seconds; the memory stays with it. Or it made no room
 *   for the call.
 * * EAGAIN: the DSP refused room for the call.
 * * EINTR: a fatal signal came while waiting.
 * * EREMOTEIO: the DSP's status is a number that the kernel keeps to itself (-512 to -530).
 * * EPIPE: the DSP, or the session, went away while waiting.
 */
struct drm_qda_mem_map {
	/** @request: in: QDA_MAP_REQUEST_*. */
	__u32 request;
	/** @flags: in: QDA_HEAP_* or QDA_MAP_*, how the DSP is to map it. */
	__u32 flags;
	/** @handle: in: GEM handle, or file descriptor of a dma-buf. */
	__u32 handle;
	/** @attrs: in: must be 0. */
	__u32 attrs;
	/** @offset: in: must be 0. */
	__u32 offset;
	/** @dsp_handle: in: number that the DSP is to know the buffer by; 0: @handle. */
	__s32 dsp_handle;
	/** @vaddrin: in: address of the buffer in the caller, or 0. */
	__u64 vaddrin;
	/** @size: in: bytes to map. */
	__u64 size;
	/** @vaddrout: out: address on the DSP, which may be 0. */
	__u64 vaddrout;
};

/**
 * struct drm_qda_mem_unmap - undo a DRM_QDA_MAP
 *
 * QDA_MAP_REQUEST_ATTR: of the number @dsp_handle, or @handle where that is 0, at the DSP's address
 * @vaddr. A negative number stands for any. QDA_MAP_REQUEST_LEGACY: of exactly @size bytes of heap
 * at the DSP's address @vaddrout.
 *
 * The older library passes the 32 bytes of &struct drm_qda_mem_unmap_legacy, known by the @size 0
 * that they leave here.
 *
 * The ioctl's value is the DSP's status. With a status other than 0 the memory stays mapped.
 * Errors:
 *
 * * EINVAL: there is no such mapping, @request is unknown, or @pad is not 0.
 * * the others of &struct drm_qda_mem_map that can happen here.
 */
struct drm_qda_mem_unmap {
	/** @request: in: QDA_MAP_REQUEST_*. */
	__u32 request;
	/** @handle: in: GEM handle, or file descriptor of a dma-buf. */
	__u32 handle;
	/** @dsp_handle: in: number that the DSP knows the buffer by; 0: @handle. */
	__s32 dsp_handle;
	/** @pad: must be 0. */
	__u32 pad;
	/** @vaddr: in: address on the DSP of a mapped buffer. */
	__u64 vaddr;
	/** @vaddrout: in: address on the DSP of a piece of heap. */
	__u64 vaddrout;
	/** @size: in: bytes mapped, not 0. */
	__u64 size;
};

/**
 * struct drm_qda_mem_unmap_legacy - the older library's DRM_QDA_MUNMAP
 */
struct drm_qda_mem_unmap_legacy {
	/** @request: in: QDA_MAP_REQUEST_*. */
	__u32 request;
	/** @fd: in: number of the buffer. */
	__s32 fd;
	/** @vaddr: in: address on the DSP of a mapped buffer. */
	__u64 vaddr;
	/** @vaddrout: in: address on the DSP of a piece of heap. */
	__u64 vaddrout;
	/** @size: in: bytes mapped. */
	__u64 size;
};

/*
 * Calls
 */

/** define QDA_SCALARS - build &drm_qda_invoke.sc from a method number and argument counts. */
#define QDA_SCALARS(method, inbufs, outbufs) \
	((((__u32)(method) & 0x1f) << 24) | (((__u32)(inbufs) & 0xff) << 16) | \
	 (((__u32)(outbufs) & 0xff) << 8))

/** define QDA_SCALARS_HANDLES - what to add to QDA_SCALARS() for handle arguments. */
#define QDA_SCALARS_HANDLES(inhandles, outhandles) \
	((((__u32)(inhandles) & 0xf) << 4) | ((__u32)(outhandles) & 0xf))

/** define QDA_HANDLE_KERNEL - the remote handle that only the kernel may call. */
#define QDA_HANDLE_KERNEL	1

/**
 * struct drm_qda_invoke_arg - one argument of DRM_QDA_INVOKE
 *
 * A buffer argument with @handle 0 or -1 is inline: its bytes are copied to or from @ptr. Otherwise
 * it is @length bytes of a buffer, which the DSP accesses in place; @ptr points at the first of
 * them, anywhere in a mapping of that very buffer in the caller's address space. @handle may be the
 * buffer's GEM handle or the file descriptor of its dma-buf: what is mapped at @ptr decides.
 *
 * A handle argument hands a buffer to the DSP, by its number, @handle: @length bytes at the offset
 * @ptr, both below 4 GiB. The number may be a GEM handle or, where there is none, the file
 * descriptor of a dma-buf, but neither 0 nor -1. The DSP keeps the buffer, whatever the caller
 * closes, until it gives the number back with the answer to some call, as often as it got it, or
 * until the process ends.
 */
struct drm_qda_invoke_arg {
	/** @ptr: address of the argument in the caller. */
	__u64 ptr;
	/** @length: bytes. */
	__u64 length;
	/** @handle: GEM handle; 0 or -1: inline. */
	__u32 handle;
	/**
	 * @attr: in: advice, ignored; but a buffer that is to be given to another virtual machine
	 * (bit 0) is refused with EOPNOTSUPP.
	 */
	__u32 attr;
};

/**
 * struct drm_qda_invoke - call a function on the DSP and wait for its result
 *
 * @args holds the in-buffers, the out-buffers, the in-handles and the out-handles, as many as @sc
 * says. Inline arguments never share storage on the DSP, even where they overlap in the caller;
 * out-buffers are copied back in the order of their index, whatever the status, and none if the
 * call fails with an errno.
 *
 * The ioctl's value is the DSP's status, unchanged: any 32-bit number, also negative. Use
 * syscall() with care: libc turns -1 to -4095 into errno.
 *
 * A signal that does not kill leaves the call running on the DSP; the ioctl is restarted by the
 * kernel and waits for the same call, which is never sent twice. With a handler that was installed
 * without SA_RESTART it fails with EINTR.
 *
 * Errors:
 *
 * * EPERM: @handle is QDA_HANDLE_KERNEL.
 * * ENOTCONN: the file has no DSP process (DRM_QDA_INIT_CREATE, DRM_QDA_INIT_ATTACH).
 * * EFAULT: @args or an inline argument cannot be read or written, or no buffer is mapped at an
 *   argument's @ptr.
 * * ENOENT: no such GEM handle.
 * * EINVAL: the memory at @ptr is not a mapping of that buffer, or the argument reaches past the
 *   end of the buffer.
 * * E2BIG: inline arguments are above QDA_MAX_INLINE_SIZE together.
 * * EOPNOTSUPP: a buffer has no single range of DSP addresses.
 * * ENOSPC: too many calls are outstanding, in this session or on the DSP, or the DSP process holds
 *   16384 buffers under numbers.
 * * ENOMEM: out of memory, or of DSP addresses.
 * * ETIMEDOUT, EAGAIN: the DSP made no room for the call in time, or refused it: it has not seen
 *   the call.
 * * EINTR: a signal, see above.
 * * EREMOTEIO: the DSP's status is a number that the kernel keeps to itself (-512 to -530).
 * * EPIPE: the DSP, or the session, went away while waiting.
 */
struct drm_qda_invoke {
	/** @handle: in: remote handle. */
	__u32 handle;
	/** @sc: in: scalars: method and argument counts, see QDA_SCALARS(). */
	__u32 sc;
	/** @args: in: address of an array of &struct drm_qda_invoke_arg. */
	__u64 args;
};

/*
 * DRM_QDA_GET_PARAM
 */

/** define QDA_ABI_VERSION - what QDA_PARAM_ABI_VERSION returns for this file. */
#define QDA_ABI_VERSION		3

/** define QDA_DOMAIN_ADSP - QDA_PARAM_DOMAIN of an audio DSP. */
#define QDA_DOMAIN_ADSP		0
/** define QDA_DOMAIN_MDSP - QDA_PARAM_DOMAIN of a modem DSP. */
#define QDA_DOMAIN_MDSP		1
/** define QDA_DOMAIN_SDSP - QDA_PARAM_DOMAIN of a sensors DSP. */
#define QDA_DOMAIN_SDSP		2
/** define QDA_DOMAIN_CDSP - QDA_PARAM_DOMAIN of a compute DSP. */
#define QDA_DOMAIN_CDSP		3
/** define QDA_DOMAIN_GDSP - QDA_PARAM_DOMAIN of a general-purpose DSP. */
#define QDA_DOMAIN_GDSP		4

/** define QDA_PARAM_ABI_VERSION - grows when something is added to this interface. */
#define QDA_PARAM_ABI_VERSION	0
/** define QDA_PARAM_NAME - bytes 8 * index to 8 * index + 7 of the DSP's name; index 0 or 1. */
#define QDA_PARAM_NAME		1
/** define QDA_PARAM_DOMAIN - which sort of DSP it is: one of QDA_DOMAIN_*. */
#define QDA_PARAM_DOMAIN	2
/** define QDA_PARAM_BANKS - how many context banks the DSP has. */
#define QDA_PARAM_BANKS		3
/** define QDA_PARAM_UNSIGNED - 1 if the DSP runs unsigned processes, else 0. */
#define QDA_PARAM_UNSIGNED	4
/** define QDA_PARAM_STATIC - 1 if the DSP has memory for static processes, else 0. */
#define QDA_PARAM_STATIC	5
/** define QDA_PARAM_NON_SECURE - 1 if nothing on the DSP needs privilege, else 0. */
#define QDA_PARAM_NON_SECURE	6
/** define QDA_PARAM_POLL - 1 if QDA_SESSION_POLL works, else 0. */
#define QDA_PARAM_POLL		7
/** define QDA_PARAM_MAX_CALLS - most calls to modules that a session may have outstanding. */
#define QDA_PARAM_MAX_CALLS	8
/** define QDA_PARAM_MAX_INLINE - most inline data of one call, in bytes. */
#define QDA_PARAM_MAX_INLINE	9
/** define QDA_PARAM_MAX_BUFFER - largest buffer that DRM_QDA_GEM_CREATE makes, in bytes. */
#define QDA_PARAM_MAX_BUFFER	10
/** define QDA_PARAM_MAX_SHELL - largest program image, in bytes. */
#define QDA_PARAM_MAX_SHELL	11
/**
 * define QDA_PARAM_DSP_ATTRIBUTE - attribute number index, 1 to 255, as the DSP reports it
 *
 * The DSP is asked when somebody first wants to know one, and once for all. The file needs no DSP
 * process for it; without one, a context bank is used while the DSP is asked. Attribute 0 is always
 * 0. Further errors:
 *
 * * EOPNOTSUPP: the DSP knows of no attributes.
 * * EREMOTEIO: the DSP answered with another error.
 * * EBUSY: no context bank is free.
 * * ENOSPC, ETIMEDOUT, EAGAIN, EINTR: as DRM_QDA_INIT_CREATE.
 * * ENOMEM: out of memory, or of DSP addresses.
 * * EPIPE: the DSP restarted while waiting.
 */
#define QDA_PARAM_DSP_ATTRIBUTE	12
/** define QDA_PARAM_MAX_DEPTH - most submissions of a queue; since version 2. */
#define QDA_PARAM_MAX_DEPTH	13
/** define QDA_PARAM_MAX_THREADS - most threads of a queue; since version 2. */
#define QDA_PARAM_MAX_THREADS	14

/**
 * struct drm_qda_get_param - ask for one number about the DSP or the driver
 *
 * Errors:
 *
 * * EINVAL: @param is unknown, or @index is not one that it has.
 * * for QDA_PARAM_DSP_ATTRIBUTE those that are listed there.
 */
struct drm_qda_get_param {
	/** @param: in: one of QDA_PARAM_*. */
	__u32 param;
	/** @index: in: which one, where there are several, else 0. */
	__u32 index;
	/** @value: out: the number. */
	__u64 value;
};

/*
 * DRM_QDA_SESSION_CREATE
 */

/** define QDA_SESSION_ROOT - become a client of the DSP's root process. */
#define QDA_SESSION_ROOT		0
/** define QDA_SESSION_SENSORS - become a client of the DSP's sensors process. */
#define QDA_SESSION_SENSORS		1
/** define QDA_SESSION_STATIC - become a client of a process that the DSP has by name. */
#define QDA_SESSION_STATIC		2
/** define QDA_SESSION_USER_SIGNED - make a signed process. */
#define QDA_SESSION_USER_SIGNED		3
/** define QDA_SESSION_USER_UNSIGNED - make an unsigned process. */
#define QDA_SESSION_USER_UNSIGNED	4

/**
 * define QDA_SESSION_POLL - keep a CPU busy for up to 10 ms waiting for the end of a call
 *
 * That shortens calls to modules (remote handles above 20) of user and static processes. It needs a
 * DSP that writes a word into the memory of a call that has succeeded, and a DSP process that was
 * told to do so, as the FastRPC library does. A call that takes longer, or fails, ends as usual.
 */
#define QDA_SESSION_POLL		(1 << 0)
/**
 * define QDA_SESSION_OWN_BANK - the process shares its context bank with nothing, now or later
 *
 * Without it, the second process of one client (one address space of user space) gets a bank of its
 * own only while one is free, and else shares one of the client's.
 */
#define QDA_SESSION_OWN_BANK		(1 << 1)

/** define QDA_STATIC_NAME_LEN - size of a static process's name, with its terminating NUL. */
#define QDA_STATIC_NAME_LEN		32

/**
 * struct drm_qda_session_create - give the file its DSP process
 *
 * It does what DRM_QDA_INIT_ATTACH and DRM_QDA_INIT_CREATE do, and more, and tells what the DSP
 * says apart from what the kernel does. Fields that @kind has no use for must be 0.
 *
 * The program of a user process is @shell_size bytes at @shell_offset of the buffer @shell_handle,
 * which stays mapped until the process ends; with @shell_size 0 the DSP uses one of its own.
 *
 * If the ioctl returns 0 and @status is 0, the file has its process. If @status is not 0, the DSP
 * has refused, and the file may ask again.
 *
 * The static processes of a DSP share memory that the device tree reserves; the DSP gets it with
 * the first of them and keeps it until it restarts.
 *
 * Errors:
 *
 * * EINVAL: @kind or a bit of @flags is unknown; a field that must be 0 is not; @attrs has
 *   QDA_PROC_ATTR_UNSIGNED; @signature_size is above @shell_size; the program reaches past the end
 *   of its buffer; @name is empty, not NUL-terminated, or not zero-filled.
 * * EACCES: the root, sensors or a static process, and the caller has no CAP_SYS_ADMIN and the node
 *   is not a non-secure domain.
 * * ECONNREFUSED: a signed or privileged process, with the same rule; or an unsigned process on a
 *   DSP that has none (QDA_PARAM_UNSIGNED).
 * * EOPNOTSUPP: a static process, and the DSP has no memory for it (QDA_PARAM_STATIC);
 *   QDA_SESSION_POLL, and the DSP cannot be polled (QDA_PARAM_POLL); or the buffer has no single
 *   range of DSP addresses.
 * * EEXIST: the file has a DSP process already.
 * * EBUSY: no context bank is free; or the DSP is just being given the memory of its static
 *   processes by another client.
 * * E2BIG: @shell_size is above QDA_MAX_SHELL_SIZE.
 * * ENOENT: no such handle.
 * * ENOSPC, ENOMEM, ETIMEDOUT, EAGAIN, EINTR, EPIPE: as DRM_QDA_INIT_CREATE.
 */
struct drm_qda_session_create {
	/** @kind: in: one of QDA_SESSION_ROOT to QDA_SESSION_USER_UNSIGNED. */
	__u32 kind;
	/** @flags: in: QDA_SESSION_POLL, QDA_SESSION_OWN_BANK, or both, or 0. */
	__u32 flags;
	/** @attrs: in: QDA_PROC_ATTR_* of a user process. */
	__u32 attrs;
	/** @shell_handle: in: GEM handle of the program of a user process, or 0. */
	__u32 shell_handle;
	/** @shell_offset: in: where the program begins in the buffer, in bytes. */
	__u64 shell_offset;
	/** @shell_size: in: size of the program in bytes, or 0. */
	__u32 shell_size;
	/** @signature_size: in: bytes at the end of the program that are its signature. */
	__u32 signature_size;
	/** @name: in: name of the static process, e.g. "audiopd", NUL-terminated, zero-filled. */
	__u8 name[QDA_STATIC_NAME_LEN];
	/** @status: in: 0; out: the DSP's status. */
	__s32 status;
	/** @pad: must be 0. */
	__u32 pad;
};

/*
 * DRM_QDA_CALL
 */

/**
 * define QDA_CALL_ARG_SYNCED - the caller has announced its accesses to the buffer, with
 * DRM_QDA_BUFFER_SYNC or DMA_BUF_IOCTL_SYNC, so that this call need not clean or invalidate the
 * CPU's caches of it. It does nothing where the DSP sees the caches. Since version 3.
 */
#define QDA_CALL_ARG_SYNCED	(1 << 0)

/**
 * struct drm_qda_call_arg - one argument of DRM_QDA_CALL
 *
 * With @handle 0 a buffer argument is inline: its bytes are copied to or from @address. Otherwise
 * it is @length bytes at @offset of a GEM buffer, which the DSP accesses in place; the caller need
 * not have the buffer mapped. A handle argument hands the GEM buffer @handle to the DSP under that
 * number, as with &struct drm_qda_invoke_arg.
 */
struct drm_qda_call_arg {
	/** @address: address of an inline argument in the caller; else 0. */
	__u64 address;
	/** @offset: where the argument begins in its buffer, in bytes; 0 for an inline one. */
	__u64 offset;
	/** @length: bytes. */
	__u64 length;
	/** @handle: GEM handle; 0: inline. */
	__u32 handle;
	/** @flags: QDA_CALL_ARG_SYNCED, or 0; 0 for an inline one. */
	__u32 flags;
};

/**
 * struct drm_qda_call - call a function on the DSP and wait for its result
 *
 * It does what DRM_QDA_INVOKE does, with buffers named by handle and offset alone, and with the
 * DSP's status apart from what the kernel has to say: if the ioctl returns 0 the DSP has answered,
 * @status is its answer, any 32-bit number, and the out-buffers are copied back.
 *
 * Arguments may grow in later versions of this interface. @arg_size is the size that the caller
 * knows; what a kernel does not know of them must be 0.
 *
 * Errors: as DRM_QDA_INVOKE, but never EREMOTEIO, and
 *
 * * EINVAL: @flags, @status or a field of an argument that must be 0 is not; @arg_count is not the
 *   number of arguments that @scalars has; @arg_size is below the size of
 *   &struct drm_qda_call_arg; or an argument reaches past the end of its buffer.
 * * E2BIG: also if @arg_size is above 4096, or an argument has something that this kernel does not
 *   know.
 */
struct drm_qda_call {
	/** @handle: in: remote handle. */
	__u32 handle;
	/** @scalars: in: method and argument counts, see QDA_SCALARS(). */
	__u32 scalars;
	/** @args: in: address of an array of &struct drm_qda_call_arg. */
	__u64 args;
	/** @arg_count: in: entries of the array. */
	__u32 arg_count;
	/** @arg_size: in: bytes from one entry to the next. */
	__u32 arg_size;
	/** @flags: must be 0. */
	__u32 flags;
	/** @status: in: 0; out: the DSP's status. */
	__s32 status;
};

/*
 * DRM_QDA_BUFFER_CREATE and DRM_QDA_BUFFER_SYNC
 */

/** define QDA_BUFFER_WRITE_COMBINED - memory that the CPU does not cache. */
#define QDA_BUFFER_WRITE_COMBINED	(1 << 0)
/**
 * define QDA_BUFFER_CACHED - memory that the CPU caches. Where the DSP does not see the caches of
 * the CPU (its banks are not ``dma-coherent``), each call cleans the caches of what it passes, and
 * invalidates those of what the DSP has written. Accesses of the CPU while a call has the buffer
 * must stand between two DRM_QDA_BUFFER_SYNC, or two DMA_BUF_IOCTL_SYNC.
 */
#define QDA_BUFFER_CACHED		(1 << 1)
/**
 * define QDA_BUFFER_POOL - contiguous memory, of the region that the device tree reserves for the
 * DSP where it does. Only a DSP with banks that are not behind an IOMMU has it.
 */
#define QDA_BUFFER_POOL			(1 << 2)

/**
 * struct drm_qda_buffer_create - allocate a buffer of a certain kind
 *
 * It does what DRM_QDA_GEM_CREATE does, and lets the caller choose where the memory comes from.
 * With @flags 0 the driver takes what is best for the DSP, as DRM_QDA_GEM_CREATE does.
 *
 * The buffers of one file can be as large together as the addresses of a bank: 4 GiB, or 16 GiB on
 * CDSPs of Kaanapali and later. Their memory counts as that of the caller's memory cgroup.
 *
 * Errors:
 *
 * * EINVAL: @size is 0, @flags is not 0 or one QDA_BUFFER_*, or @handle or @pad is not 0.
 * * E2BIG: @size is above QDA_MAX_BUFFER_SIZE.
 * * ENOSPC: the file has too much already.
 * * EOPNOTSUPP: the DSP has no memory of that kind.
 * * ENOMEM: out of memory.
 */
struct drm_qda_buffer_create {
	/** @size: in: size in bytes, rounded up to whole pages. */
	__u64 size;
	/** @flags: in: 0 or one QDA_BUFFER_*; out: the one that it is. */
	__u32 flags;
	/** @handle: in: 0; out: the GEM handle, never 0. */
	__u32 handle;
	/** @pad: must be 0. */
	__u64 pad;
};

/** define QDA_SYNC_READ - the CPU reads. */
#define QDA_SYNC_READ	(1 << 0)
/** define QDA_SYNC_WRITE - the CPU writes. */
#define QDA_SYNC_WRITE	(1 << 1)
/** define QDA_SYNC_END - the accesses are over; without it they are about to begin. */
#define QDA_SYNC_END	(1 << 2)

/**
 * struct drm_qda_buffer_sync - begin or end accesses of the CPU to a cached buffer
 *
 * Does nothing where nothing needs to be done: with coherent banks, and with memory that is not
 * cached.
 *
 * Errors:
 *
 * * EINVAL: @flags has neither QDA_SYNC_READ nor QDA_SYNC_WRITE, or something unknown.
 * * ENOENT: no such handle.
 * * those of the exporter of an imported buffer.
 */
struct drm_qda_buffer_sync {
	/** @handle: in: GEM handle. */
	__u32 handle;
	/** @flags: in: QDA_SYNC_*. */
	__u32 flags;
};

/*
 * Submissions: calls for which no thread waits. Since version 2 (QDA_PARAM_ABI_VERSION).
 *
 * DRM_QDA_QUEUE_CREATE gives a file a queue. DRM_QDA_SUBMIT puts calls into it and returns at once.
 * The driver sends them in that order, as threads of the DSP are free; they end in any order. What
 * comes of each is a completion, which waits until DRM_QDA_REAP takes it. poll() reports POLLIN
 * while there are completions, POLLHUP once the DSP process has ended, and POLLERR for a file
 * without a queue.
 *
 * Every submission that is accepted gets exactly one completion, unless the file is closed before,
 * or the device is unplugged: then DRM_QDA_REAP fails with ENODEV, and the DSP touches no buffer of
 * any submission any more.
 *
 * Inputs that are inline are copied when a call is submitted, and outputs when its completion is
 * taken. Buffers stay mapped for the DSP until then, whatever the caller closes. The arguments are
 * in the memory of whoever made the queue: nobody else, a forked child for example, can submit or
 * take completions.
 *
 * None of this was tried on hardware so far.
 */

/**
 * struct drm_qda_queue_create - give the file a queue of submissions
 *
 * The file has its DSP process already, and the queue stays until the file is closed. As many calls
 * are made at the same time as there are @threads of the DSP, which the driver has for the queue
 * alone; with one, calls are made one after the other, in the order of their submission. The DSP
 * has these threads when they have calls, and is told that they have exited when for some time they
 * have had none.
 *
 * The memory of the queue counts as that of the caller's memory cgroup.
 *
 * Errors:
 *
 * * EINVAL: @depth is 0 or above QDA_PARAM_MAX_DEPTH, @threads is 0 or above QDA_PARAM_MAX_THREADS,
 *   or @flags or @pad is not 0.
 * * ENOTCONN: the file has no DSP process.
 * * EEXIST: the file has a queue already.
 * * EPIPE: the DSP process has ended.
 * * ENOMEM: out of memory.
 */
struct drm_qda_queue_create {
	/** @depth: in: most submissions whose completions were not taken yet. */
	__u32 depth;
	/** @threads: in: most calls that the DSP makes at the same time. */
	__u32 threads;
	/** @flags: must be 0. */
	__u32 flags;
	/** @pad: must be 0. */
	__u32 pad;
};

/**
 * struct drm_qda_submission - one call of DRM_QDA_SUBMIT
 */
struct drm_qda_submission {
	/** @user_data: in: anything; it comes back with the completion. */
	__u64 user_data;
	/** @args: in: address of an array of &struct drm_qda_call_arg. */
	__u64 args;
	/** @id: in: 0; out, if it is accepted: the submission's id, not 0, never given twice. */
	__u64 id;
	/** @handle: in: remote handle. */
	__u32 handle;
	/** @scalars: in: method and argument counts, see QDA_SCALARS(). */
	__u32 scalars;
	/** @arg_count: in: entries of the array @args. */
	__u32 arg_count;
	/** @flags: must be 0. */
	__u32 flags;
};

/**
 * struct drm_qda_submit - submit calls
 *
 * Calls are as those of DRM_QDA_CALL. They are accepted one after the other, up to the first that
 * cannot be; @accepted is how many were. The ioctl fails only if the first of all is not accepted.
 * If it succeeds with fewer than @count, submit the others again: if that fails, the error is that
 * of the first of them. Arrays and inline inputs may be used again when the ioctl returns.
 *
 * Submissions, and the arguments, may grow in later versions of this interface.
 * @submission_size and @arg_size are the sizes that the caller knows; what a kernel does not know
 * of them must be 0.
 *
 * The ioctl does not wait for the DSP. Errors, of the first call:
 *
 * * EAGAIN: the queue is full, or has as much inline data as QDA_MAX_INLINE_SIZE allows for one
 *   call: take a completion first.
 * * EINVAL: @count is 0; @submission_size is below the size of &struct drm_qda_submission; @flags,
 *   @accepted, @pad or a field of the call that must be 0 is not; or as DRM_QDA_CALL.
 * * E2BIG: @submission_size is above 4096, or the call has something that this kernel does not
 *   know; or as DRM_QDA_CALL.
 * * ENOTCONN: the file has no queue.
 * * EACCES: another address space than the caller's made the queue.
 * * EFAULT: @submissions cannot be read or written; or as DRM_QDA_CALL. Or this structure cannot be
 *   written, and then calls were accepted all the same: those that have an @id.
 * * EPERM, ENOENT, EOPNOTSUPP, ENOMEM: as DRM_QDA_CALL.
 * * ENOSPC: the DSP process holds 16384 buffers under numbers.
 * * EPIPE: the DSP process has ended.
 */
struct drm_qda_submit {
	/** @submissions: in: address of an array of &struct drm_qda_submission. */
	__u64 submissions;
	/** @submission_size: in: bytes from one entry of the array to the next. */
	__u32 submission_size;
	/** @arg_size: in: bytes from one argument of a call to the next. */
	__u32 arg_size;
	/** @count: in: entries of the array. */
	__u32 count;
	/** @flags: must be 0. */
	__u32 flags;
	/** @accepted: in: 0; out: how many calls were accepted. */
	__u32 accepted;
	/** @pad: must be 0. */
	__u32 pad;
};

/**
 * struct drm_qda_cancel - take back a submission that the DSP has not got
 *
 * It completes with the error ECANCELED. What was sent cannot be taken back: the DSP has no means
 * for that.
 *
 * Errors:
 *
 * * EBUSY: the call was sent, and completes as if nothing had happened.
 * * ENOENT: there is no such submission, or it is over.
 * * ENOTCONN: the file has no queue.
 * * EINVAL: @flags or @pad is not 0.
 */
struct drm_qda_cancel {
	/** @id: in: id of the submission. */
	__u64 id;
	/** @flags: must be 0. */
	__u32 flags;
	/** @pad: must be 0. */
	__u32 pad;
};

/**
 * struct drm_qda_completion - what came of a submission
 *
 * With @error 0 the DSP has answered, @status is its answer, any 32-bit number, and the out-buffers
 * that are inline were copied. Else @error says why there is no answer:
 *
 * * -ECANCELED: DRM_QDA_CANCEL.
 * * -EPIPE: the DSP process ended before, or before the completion was taken.
 * * -EFAULT: an inline out-buffer cannot be written. The DSP has made the call.
 * * another: sending failed. The DSP has not got the call.
 */
struct drm_qda_completion {
	/** @id: out: id of the submission; it is written last. */
	__u64 id;
	/** @user_data: out: what was submitted with it. */
	__u64 user_data;
	/** @error: out: 0, or a negative errno. */
	__s32 error;
	/** @status: out: the DSP's status. */
	__s32 status;
};

/**
 * struct drm_qda_reap - take completions
 *
 * It waits until there are @min_count completions or @timeout_ns has passed, and takes up to
 * @max_count of them, in the order in which the calls ended; with @min_count 0 it does not wait.
 * The wait ends early when the DSP process ends. It also goes on if nothing is submitted: another
 * thread may do that.
 *
 * A signal interrupts the wait only, and nothing is lost; @timeout_ns is a point in time, so that
 * the ioctl can be made again as it is. A completion that cannot be written stays to be taken.
 *
 * Completions may grow in later versions of this interface. @completion_size is the size that the
 * caller knows; what a kernel does not know of it is set to 0.
 *
 * Errors; completions are taken only if there is none:
 *
 * * ETIME: @timeout_ns has passed without a completion, and @min_count is not 0.
 * * EINTR: a signal came while waiting.
 * * EINVAL: @max_count is 0 or below @min_count; @completion_size is below the size of
 *   &struct drm_qda_completion; @timeout_ns is negative; or @flags, @reaped or @pad is not 0.
 * * E2BIG: @completion_size is above 4096.
 * * EFAULT: @completions cannot be written; or this structure cannot, and then completions may
 *   have been taken all the same: those that have an @id, if it was 0.
 * * ENOTCONN: the file has no queue.
 * * EACCES: another address space than the caller's made the queue.
 * * EPIPE: the DSP process has ended, and no completion is left.
 */
struct drm_qda_reap {
	/** @completions: in: address of an array of &struct drm_qda_completion. */
	__u64 completions;
	/** @completion_size: in: bytes from one entry of the array to the next. */
	__u32 completion_size;
	/** @max_count: in: entries of the array. */
	__u32 max_count;
	/** @min_count: in: how many completions to wait for. */
	__u32 min_count;
	/** @flags: must be 0. */
	__u32 flags;
	/** @timeout_ns: in: until when to wait, in nanoseconds of CLOCK_MONOTONIC. */
	__s64 timeout_ns;
	/** @reaped: in: 0; out: how many completions were taken. */
	__u32 reaped;
	/** @pad: must be 0. */
	__u32 pad;
};

#define DRM_QDA_QUERY			0x00
#define DRM_QDA_GEM_CREATE		0x01
#define DRM_QDA_GEM_MMAP_OFFSET		0x02
#define DRM_QDA_INIT_ATTACH		0x03
#define DRM_QDA_INIT_CREATE		0x04
#define DRM_QDA_MAP			0x05
#define DRM_QDA_MUNMAP			0x06
#define DRM_QDA_INVOKE			0x07
#define DRM_QDA_GET_PARAM		0x08
#define DRM_QDA_SESSION_CREATE		0x09
#define DRM_QDA_CALL			0x0a
#define DRM_QDA_BUFFER_CREATE		0x0b
#define DRM_QDA_BUFFER_SYNC		0x0c
#define DRM_QDA_QUEUE_CREATE		0x0d
#define DRM_QDA_SUBMIT			0x0e
#define DRM_QDA_CANCEL			0x0f
#define DRM_QDA_REAP			0x10

/* Note: this is an enum so that it can be resolved by Rust bindgen. */
enum {
	DRM_IOCTL_QDA_QUERY		= DRM_IOWR(DRM_COMMAND_BASE + DRM_QDA_QUERY,
						   struct drm_qda_query),
	DRM_IOCTL_QDA_GEM_CREATE	= DRM_IOWR(DRM_COMMAND_BASE + DRM_QDA_GEM_CREATE,
						   struct drm_qda_gem_create),
	DRM_IOCTL_QDA_GEM_MMAP_OFFSET	= DRM_IOWR(DRM_COMMAND_BASE + DRM_QDA_GEM_MMAP_OFFSET,
						   struct drm_qda_gem_mmap_offset),
	DRM_IOCTL_QDA_INIT_ATTACH	= DRM_IO(DRM_COMMAND_BASE + DRM_QDA_INIT_ATTACH),
	DRM_IOCTL_QDA_INIT_CREATE	= DRM_IOWR(DRM_COMMAND_BASE + DRM_QDA_INIT_CREATE,
						   struct drm_qda_init_create),
	DRM_IOCTL_QDA_MAP		= DRM_IOWR(DRM_COMMAND_BASE + DRM_QDA_MAP,
						   struct drm_qda_mem_map),
	DRM_IOCTL_QDA_MUNMAP		= DRM_IOWR(DRM_COMMAND_BASE + DRM_QDA_MUNMAP,
						   struct drm_qda_mem_unmap),
	DRM_IOCTL_QDA_INVOKE		= DRM_IOW(DRM_COMMAND_BASE + DRM_QDA_INVOKE,
						  struct drm_qda_invoke),
	DRM_IOCTL_QDA_GET_PARAM		= DRM_IOWR(DRM_COMMAND_BASE + DRM_QDA_GET_PARAM,
						   struct drm_qda_get_param),
	DRM_IOCTL_QDA_SESSION_CREATE	= DRM_IOWR(DRM_COMMAND_BASE + DRM_QDA_SESSION_CREATE,
						   struct drm_qda_session_create),
	DRM_IOCTL_QDA_CALL		= DRM_IOWR(DRM_COMMAND_BASE + DRM_QDA_CALL,
						   struct drm_qda_call),
	DRM_IOCTL_QDA_BUFFER_CREATE	= DRM_IOWR(DRM_COMMAND_BASE + DRM_QDA_BUFFER_CREATE,
						   struct drm_qda_buffer_create),
	DRM_IOCTL_QDA_BUFFER_SYNC	= DRM_IOW(DRM_COMMAND_BASE + DRM_QDA_BUFFER_SYNC,
						  struct drm_qda_buffer_sync),
	DRM_IOCTL_QDA_QUEUE_CREATE	= DRM_IOW(DRM_COMMAND_BASE + DRM_QDA_QUEUE_CREATE,
						  struct drm_qda_queue_create),
	DRM_IOCTL_QDA_SUBMIT		= DRM_IOWR(DRM_COMMAND_BASE + DRM_QDA_SUBMIT,
						   struct drm_qda_submit),
	DRM_IOCTL_QDA_CANCEL		= DRM_IOW(DRM_COMMAND_BASE + DRM_QDA_CANCEL,
						  struct drm_qda_cancel),
	DRM_IOCTL_QDA_REAP		= DRM_IOWR(DRM_COMMAND_BASE + DRM_QDA_REAP,
						   struct drm_qda_reap),
};

#if defined(__cplusplus)
}
#endif

#endif /* __QDA_ACCEL_H__ */
