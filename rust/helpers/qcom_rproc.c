// SPDX-License-Identifier: GPL-2.0

#include <linux/err.h>
#include <linux/module.h>
#include <linux/remoteproc/qcom_rproc.h>

/*
 * Rust abstractions are built in, and the drivers of the remote processors are
 * often modules. The reference to theirs is kept: the notifier stays as well.
 */
__rust_helper void *
rust_helper_qcom_ssr_notifier_register(const char *name,
				       struct notifier_block *nb)
{
#if IS_ENABLED(CONFIG_QCOM_RPROC_COMMON)
	void *(*notify)(const char *name, struct notifier_block *nb);

	notify = symbol_get(qcom_register_ssr_notifier);
	if (notify)
		return notify(name, nb);
#endif
	return ERR_PTR(-ENODEV);
}
