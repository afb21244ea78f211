// SPDX-License-Identifier: GPL-2.0
/*
 * Where instructions go: a timer that looks at what it interrupts. Under
 * QEMU's -icount the guest's time is the number of its instructions, so that
 * samples in equal times are samples of equally many instructions.
 *
 * What runs with interrupts disabled is seen where it enables them. The idle
 * task is left out: its time is no instructions.
 *
 * /dev/qda_profile: writing "1" begins, "0" ends; reading gives a line for
 * each sample, the innermost function first, with "<" between.
 */
#include <linux/fs.h>
#include <linux/hrtimer.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/stacktrace.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <asm/irq_regs.h>

/* Instructions from one sample to the next: no divisor of what repeats. */
#define PERIOD_NS	20011
#define SAMPLES		2000
#define DEPTH		48

struct sample {
	unsigned int first, count;
	unsigned long stack[DEPTH];
};

static struct sample *samples;
static unsigned int taken;
static struct hrtimer timer;

/* Frames of the interrupt itself come before what it interrupts. */
static void profile_sample(struct pt_regs *regs, struct sample *sample)
{
	unsigned int i;

	sample->first = 0;
	if (user_mode(regs)) {
		sample->count = 0;
		return;
	}
	sample->count = stack_trace_save(sample->stack, DEPTH, 0);
	for (i = 0; i < sample->count; i++) {
		if (sample->stack[i] == regs->pc) {
			sample->first = i;
			return;
		}
	}
	sample->stack[0] = regs->pc;
	sample->count = 1;
}

static enum hrtimer_restart profile_tick(struct hrtimer *timer)
{
	struct pt_regs *regs = get_irq_regs();

	if (regs && !is_idle_task(current) && taken < SAMPLES)
		profile_sample(regs, &samples[taken++]);
	hrtimer_forward_now(timer, PERIOD_NS);
	return HRTIMER_RESTART;
}

static ssize_t profile_write(struct file *file, const char __user *text, size_t len, loff_t *at)
{
	char word;

	if (!len || get_user(word, text))
		return -EFAULT;
	hrtimer_cancel(&timer);
	if (word == '1') {
		taken = 0;
		hrtimer_start(&timer, PERIOD_NS, HRTIMER_MODE_REL_PINNED_HARD);
	}
	return len;
}

static void *profile_seq_start(struct seq_file *seq, loff_t *at)
{
	return *at < taken ? &samples[*at] : NULL;
}

static void *profile_seq_next(struct seq_file *seq, void *sample, loff_t *at)
{
	++*at;
	return profile_seq_start(seq, at);
}

static void profile_seq_stop(struct seq_file *seq, void *sample)
{
}

static int profile_seq_show(struct seq_file *seq, void *data)
{
	const struct sample *sample = data;

	if (!sample->count)
		seq_puts(seq, "user");
	for (unsigned int i = sample->first; i < sample->count; i++)
		seq_printf(seq, "%s%ps", i > sample->first ? "<" : "", (void *)sample->stack[i]);
	seq_putc(seq, '\n');
	return 0;
}

static const struct seq_operations profile_seq = {
	.start = profile_seq_start,
	.next = profile_seq_next,
	.stop = profile_seq_stop,
	.show = profile_seq_show,
};

static int profile_open(struct inode *inode, struct file *file)
{
	/* That of a misc device is taken. */
	file->private_data = NULL;
	return seq_open(file, &profile_seq);
}

static const struct file_operations profile_fops = {
	.owner = THIS_MODULE,
	.open = profile_open,
	.read = seq_read,
	.llseek = seq_lseek,
	.write = profile_write,
	.release = seq_release,
};

static struct miscdevice profile_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "qda_profile",
	.fops = &profile_fops,
};

static int __init profile_init(void)
{
	int ret;

	samples = vcalloc(SAMPLES, sizeof(*samples));
	if (!samples)
		return -ENOMEM;
	hrtimer_setup(&timer, profile_tick, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_HARD);
	ret = misc_register(&profile_misc);
	if (ret)
		vfree(samples);
	return ret;
}
module_init(profile_init);

static void __exit profile_exit(void)
{
	misc_deregister(&profile_misc);
	hrtimer_cancel(&timer);
	vfree(samples);
}
module_exit(profile_exit);

MODULE_DESCRIPTION("Samples what one CPU does, by time");
MODULE_LICENSE("GPL");
