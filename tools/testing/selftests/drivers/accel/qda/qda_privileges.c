// SPDX-License-Identifier: GPL-2.0
/*
 * QDA: who may do what on which DSP. The table is that of Documentation/accel/qda/privileges.rst.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "child.h"
#include "harness.h"
#include "module.h"
#include "qda.h"
#include "simdsp.h"

/* A user, and the group that the node is given to. */
#define USER		4321
#define GROUP		4322

enum who { ROOT, MEMBER, NAMESPACE, STRANGER };

static const char *const names[] = {
	[ROOT] = "root",
	[MEMBER] = "a user in the node's group",
	[NAMESPACE] = "the root of a user namespace",
	[STRANGER] = "a user who isn't in the node's group",
};

/* What may be asked for. */
enum way {
	ATTACH, ROOT_PD, SENSORS_PD, STATIC_PD, CREATE_SIGNED, USER_SIGNED, CREATE_PRIVILEGED,
	USER_PRIVILEGED, CREATE_UNSIGNED, USER_UNSIGNED, ATTRIBUTE, BUFFER, KERNEL_HANDLE, WAYS,
};

static int create(int fd, __u32 attrs)
{
	struct drm_qda_init_create arg = { .attrs = attrs };

	return qda_ioctl(fd, DRM_IOCTL_QDA_INIT_CREATE, &arg);
}

static int user(int fd, __u32 kind, __u32 attrs)
{
	return qda_session(fd, (struct drm_qda_session_create) { .kind = kind, .attrs = attrs });
}

static int ask(int fd, enum way way)
{
	struct drm_qda_gem_create buffer = { .size = 1 };
	__u64 value;

	switch (way) {
	case ATTACH:
		return qda_ioctl(fd, DRM_IOCTL_QDA_INIT_ATTACH, NULL);
	case ROOT_PD:
		return qda_session_kind(fd, QDA_SESSION_ROOT);
	case SENSORS_PD:
		return qda_session_kind(fd, QDA_SESSION_SENSORS);
	case STATIC_PD:
		return qda_session(fd, (struct drm_qda_session_create) {
			.kind = QDA_SESSION_STATIC, .name = "audiopd",
		});
	case CREATE_SIGNED:
		return create(fd, 0);
	case USER_SIGNED:
		return user(fd, QDA_SESSION_USER_SIGNED, 0);
	case CREATE_PRIVILEGED:
		return create(fd, QDA_PROC_ATTR_UNSIGNED | QDA_PROC_ATTR_PRIVILEGED);
	case USER_PRIVILEGED:
		return user(fd, QDA_SESSION_USER_UNSIGNED, QDA_PROC_ATTR_PRIVILEGED);
	case CREATE_UNSIGNED:
		return create(fd, QDA_PROC_ATTR_UNSIGNED);
	case USER_UNSIGNED:
		return user(fd, QDA_SESSION_USER_UNSIGNED, 0);
	case ATTRIBUTE:
		return qda_param(fd, QDA_PARAM_DSP_ATTRIBUTE, 6, &value);
	case BUFFER:
		return qda_ioctl(fd, DRM_IOCTL_QDA_GEM_CREATE, &buffer);
	case KERNEL_HANDLE:
		return qda_invoke(fd, QDA_HANDLE_KERNEL, 0, NULL);
	default:
		return -EINVAL;
	}
}

/* What comes of it. */
static int expected(enum way way, bool privileged, bool has_unsigned, bool has_static)
{
	switch (way) {
	case ATTACH:
	case ROOT_PD:
	case SENSORS_PD:
		return privileged ? 0 : -EACCES;
	case STATIC_PD:
		return !privileged ? -EACCES : has_static ? 0 : -EOPNOTSUPP;
	case CREATE_SIGNED:
	case USER_SIGNED:
		return privileged ? 0 : -ECONNREFUSED;
	case CREATE_PRIVILEGED:
	case USER_PRIVILEGED:
		return privileged && has_unsigned ? 0 : -ECONNREFUSED;
	case CREATE_UNSIGNED:
	case USER_UNSIGNED:
		return has_unsigned ? 0 : -ECONNREFUSED;
	case KERNEL_HANDLE:
		return -EPERM;
	default:
		return 0;
	}
}

/* Whether the caller has CAP_SYS_ADMIN where it is. */
static bool is_admin(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };

	return !syscall(SYS_capget, &header, data) && data[0].effective & (1u << CAP_SYS_ADMIN);
}

struct asker {
	enum who who;
	char node[64];
};

/* Opens the node anew for each way, and tells what came of it. */
static int asks(struct child *parent, void *arg)
{
	const struct asker *asker = arg;

	if (asker->who != ROOT) {
		gid_t group = asker->who == STRANGER ? USER : GROUP;

		if (setgroups(0, NULL) || setgid(group) || setuid(USER))
			return 1;
	}
	if (asker->who == NAMESPACE && unshare(CLONE_NEWUSER))
		return 2;
	/* It has the capability there, which does not count here. */
	if (is_admin() != (asker->who == ROOT || asker->who == NAMESPACE))
		return 3;
	for (int way = 0; way < WAYS; way++) {
		int fd = open(asker->node, O_RDWR | O_CLOEXEC);

		child_tell(parent, fd < 0 ? -errno : ask(fd, way));
		if (fd >= 0)
			close(fd);
	}
	return 0;
}

FIXTURE(privileges)
{
	struct asker asker;
	struct stat node;
	bool has_static;
	bool secure;
};

FIXTURE_VARIANT(privileges)
{
	const char *dsp;
	bool has_unsigned;
	/* If there is memory for them. */
	bool has_static;
};

FIXTURE_VARIANT_ADD(privileges, cdsp) { .dsp = "cdsp", .has_unsigned = true };
FIXTURE_VARIANT_ADD(privileges, gdsp) { .dsp = "gdsp0", .has_unsigned = true };
FIXTURE_VARIANT_ADD(privileges, adsp) { .dsp = "adsp", .has_static = true };
FIXTURE_VARIANT_ADD(privileges, mdsp) { .dsp = "mdsp" };
FIXTURE_VARIANT_ADD(privileges, sdsp) { .dsp = "sdsp" };

FIXTURE_SETUP(privileges)
{
	const char *why = qda_test_begin("privileges", _metadata->name, true);
	char link[64];
	ssize_t len;
	int fd;

	self->asker.node[0] = '\0';
	if (why)
		SKIP(return, "%s", why);
	fd = qda_open(variant->dsp);
	if (fd < 0)
		SKIP(return, "this machine has no %s", variant->dsp);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, self->asker.node, sizeof(self->asker.node) - 1);
	ASSERT_LT(0, len);
	self->asker.node[len] = '\0';
	ASSERT_EQ(0, fstat(fd, &self->node));
	close(fd);
	ASSERT_EQ(0, chown(self->asker.node, 0, GROUP));
	ASSERT_EQ(0, chmod(self->asker.node, 0660));
	self->has_static = variant->has_static && qda_of_bool(variant->dsp, "memory-region");
	self->secure = !qda_of_bool(variant->dsp, "qcom,non-secure-domain");
	TH_LOG("%s is %ssecure", variant->dsp, self->secure ? "" : "not ");
}

FIXTURE_TEARDOWN(privileges)
{
	if (self->asker.node[0]) {
		chown(self->asker.node, self->node.st_uid, self->node.st_gid);
		chmod(self->asker.node, self->node.st_mode & 07777);
	}
	EXPECT_EQ(0, qda_test_end());
}

TEST_F_TIMEOUT(privileges, table, 90)
{
	struct child child;

	for (self->asker.who = ROOT; self->asker.who <= STRANGER; self->asker.who++) {
		enum who who = self->asker.who;
		bool privileged = who == ROOT || !self->secure;

		ASSERT_EQ(0, child_start(&child, asks, &self->asker));
		for (int way = 0; way < WAYS; way++) {
			int want = who == STRANGER ? -EACCES :
				   expected(way, privileged, variant->has_unsigned,
					    self->has_static);

			EXPECT_EQ(want, child_hear(&child, 15000)) {
				TH_LOG("%s, way %d", names[who], way);
			}
		}
		EXPECT_EQ(0, child_wait(&child, 15000));
	}
}

/* A file that a privileged program has opened, in the hands of a user. */
static int inherits(struct child *parent, void *arg)
{
	int fd = open(arg, O_RDWR | O_CLOEXEC);

	if (fd < 0 || setgroups(0, NULL) || setgid(GROUP) || setuid(USER))
		return 1;
	child_tell(parent, ask(fd, ROOT_PD));
	child_tell(parent, ask(fd, USER_UNSIGNED));
	return 0;
}

TEST_F(privileges, caller_decides_not_opener)
{
	bool privileged = !self->secure;
	struct child child;

	ASSERT_EQ(0, child_start(&child, inherits, self->asker.node));
	EXPECT_EQ(expected(ROOT_PD, privileged, 0, 0), child_hear(&child, 10000));
	/* Where the first was granted, the file has its process. */
	EXPECT_EQ(privileged && variant->has_unsigned ? -EEXIST :
		  expected(USER_UNSIGNED, privileged, variant->has_unsigned, 0),
		  child_hear(&child, 10000));
	EXPECT_EQ(0, child_wait(&child, 10000));
}

TEST_HARNESS_MAIN
