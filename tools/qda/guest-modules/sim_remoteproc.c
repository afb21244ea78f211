// SPDX-License-Identifier: GPL-2.0
/*
 * A remote processor that the simulator plays: starts and stops it, and brings
 * up the GLINK edge that leads to it.
 *
 * On hardware the drivers of the processors do that, which need firmware and
 * secure-world calls. Unbinding this driver is what stopping a processor is
 * there, in the same order: all that hangs on it goes, then it is halted, and
 * whoever wants to know is told. One that crashed has halted before. Binding
 * starts it again.
 */
#include <linux/device.h>
#include <linux/iopoll.h>
#include <linux/module.h>
#include <linux/of.h>
#include <linux/platform_device.h>
#include <linux/rpmsg/qcom_glink.h>
#include <linux/slab.h>

#include "qcom_common.h"

/* Registers: what we want, and what is. */
#define SIM_WANTED	0
#define SIM_RUNNING	4

#define SIM_TIMEOUT_US	(10 * USEC_PER_SEC)

struct sim_remoteproc {
	void __iomem *regs;
	struct device_node *node;
	struct platform_device *parent;
	struct qcom_glink_smem *glink;
	/* Never registered: it is there for those who are told of starts and stops. */
	struct rproc *rproc;
	struct qcom_rproc_ssr ssr;
};

static const struct rproc_ops sim_rproc_ops;

/* When this has switched it off, the processor touches no memory any more. */
static int sim_power(struct sim_remoteproc *sim, u32 on)
{
	u32 running;

	writel(on, sim->regs + SIM_WANTED);
	return readl_poll_timeout(sim->regs + SIM_RUNNING, running, running == on, 500,
				  SIM_TIMEOUT_US);
}

/* Tells who wants to know, by the name of the edge, of what becomes of the processor. */
static int sim_add_ssr(struct device *dev, struct sim_remoteproc *sim)
{
	const char *name;
	int ret;

	ret = of_property_read_string(sim->node, "label", &name);
	if (ret)
		return ret;
	sim->rproc = devm_rproc_alloc(dev, name, &sim_rproc_ops, NULL, 0);
	if (!sim->rproc)
		return -ENOMEM;
	qcom_add_ssr_subdev(sim->rproc, &sim->ssr, name);
	return sim->ssr.info ? 0 : -ENOMEM;
}

static void sim_put_node(void *node)
{
	of_node_put(node);
}

static int sim_probe(struct platform_device *pdev)
{
	struct device *dev = &pdev->dev;
	struct sim_remoteproc *sim;
	int ret;

	sim = devm_kzalloc(dev, sizeof(*sim), GFP_KERNEL);
	if (!sim)
		return -ENOMEM;
	platform_set_drvdata(pdev, sim);

	sim->regs = devm_platform_ioremap_resource(pdev, 0);
	if (IS_ERR(sim->regs))
		return PTR_ERR(sim->regs);

	sim->node = of_get_child_by_name(dev->of_node, "glink-edge");
	if (!sim->node)
		return -ENODEV;
	ret = devm_add_action_or_reset(dev, sim_put_node, sim->node);
	if (ret)
		return ret;

	ret = sim_add_ssr(dev, sim);
	if (ret)
		return ret;

	/* GLINK names the edge after its grandparent, the rproc device's parent. */
	sim->parent = platform_device_register_data(dev, "sim-rproc", PLATFORM_DEVID_AUTO,
						    NULL, 0);
	if (IS_ERR(sim->parent))
		return PTR_ERR(sim->parent);

	sim->ssr.subdev.prepare(&sim->ssr.subdev);
	ret = sim_power(sim, 1);
	if (ret) {
		dev_err(dev, "does not start: %d\n", ret);
		goto err_power;
	}
	sim->glink = qcom_glink_smem_register(&sim->parent->dev, sim->node);
	if (IS_ERR(sim->glink)) {
		ret = PTR_ERR(sim->glink);
		goto err_power;
	}
	sim->ssr.subdev.start(&sim->ssr.subdev);
	return 0;

err_power:
	sim_power(sim, 0);
	sim->ssr.subdev.unprepare(&sim->ssr.subdev);
	platform_device_unregister(sim->parent);
	return ret;
}

static void sim_remove(struct platform_device *pdev)
{
	struct sim_remoteproc *sim = platform_get_drvdata(pdev);

	sim->ssr.subdev.stop(&sim->ssr.subdev, false);
	qcom_glink_smem_unregister(sim->glink);
	if (sim_power(sim, 0))
		dev_err(&pdev->dev, "does not stop\n");
	else
		sim->ssr.subdev.unprepare(&sim->ssr.subdev);
	platform_device_unregister(sim->parent);
}

/* The node of a context bank of a DSP on the edge. */
static struct device_node *sim_find_bank(struct sim_remoteproc *sim, u32 number)
{
	u32 reg;

	for_each_child_of_node_scoped(sim->node, dsp) {
		for_each_child_of_node_scoped(dsp, bank) {
			if (!of_property_read_u32(bank, "reg", &reg) && reg == number)
				return of_node_get(bank);
		}
	}
	return NULL;
}

static int sim_disable(struct device_node *bank)
{
	struct property *status;
	int ret;

	/* Stays with the node, as all properties do. */
	status = kzalloc_obj(*status);
	if (!status)
		return -ENOMEM;
	status->name = kstrdup("status", GFP_KERNEL);
	status->value = kstrdup("disabled", GFP_KERNEL);
	status->length = sizeof("disabled");
	ret = status->name && status->value ? of_add_property(bank, status) : -ENOMEM;
	if (ret) {
		kfree(status->name);
		kfree(status->value);
		kfree(status);
	}
	return ret;
}

/*
 * Takes a context bank out of the device tree ("-3") or puts it back ("3"),
 * which counts when the processor is started the next time.
 */
static ssize_t bank_store(struct device *dev, struct device_attribute *attr, const char *buf,
			  size_t count)
{
	struct device_node *bank;
	int number, ret;

	ret = kstrtoint(buf, 0, &number);
	if (ret)
		return ret;
	bank = sim_find_bank(dev_get_drvdata(dev), abs(number));
	if (!bank)
		return -ENOENT;
	if (number < 0)
		ret = sim_disable(bank);
	else
		ret = of_remove_property(bank, of_find_property(bank, "status", NULL));
	of_node_put(bank);
	return ret ?: count;
}
static DEVICE_ATTR_WO(bank);

static struct attribute *sim_attrs[] = {
	&dev_attr_bank.attr,
	NULL
};
ATTRIBUTE_GROUPS(sim);

static const struct of_device_id sim_of_match[] = {
	{ .compatible = "sim,remoteproc" },
	{}
};
MODULE_DEVICE_TABLE(of, sim_of_match);

static struct platform_driver sim_driver = {
	.probe = sim_probe,
	.remove = sim_remove,
	.driver = {
		.name = "sim-remoteproc",
		.of_match_table = sim_of_match,
		.dev_groups = sim_groups,
	},
};
module_platform_driver(sim_driver);

MODULE_DESCRIPTION("Remote processor played by the QDA simulator");
MODULE_LICENSE("GPL");
