// SPDX-License-Identifier: GPL-2.0
/* A network card to try ringnet with (lab 10). insmod card.ko test=NAME; what came of it stands in the kernel's log. */
#include "fake_device.h"
#include <linux/etherdevice.h>
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>
#include <linux/virtio_net.h>
#include <net/net_namespace.h>

#define PROTOCOL	0x88b5	/* for experiments */
#define HEADER		sizeof(struct virtio_net_hdr_v1)
#define MANY		512

enum { RX, TX };

static char *test = "";
module_param(test, charp, 0);
static unsigned int seed, lengths[MANY], nr_lengths;	/* of frames; or of what the card says they have */
module_param(seed, uint, 0);
module_param_array(lengths, uint, &nr_lengths, 0);

static struct net_device *net;
static unsigned int received, freed;
static unsigned int sums[MANY];

static u8 pattern(unsigned int frame, unsigned int at)
{
	return (seed + frame * 37 + at * at) & 0xff;
}

static unsigned int sum(const u8 *bytes, unsigned int n)
{
	unsigned int result = n;

	while (n--)
		result = result * 31 + *bytes++;
	return result;
}

/* ---- frames for the driver ---- */

static int take_packet(struct sk_buff *skb, struct net_device *dev, struct packet_type *type,
		       struct net_device *original)
{
	if (received < MANY && !skb_linearize(skb))
		sums[received] = sum(skb->data, skb->len);
	received++;
	kfree_skb(skb);
	return 0;
}

static struct packet_type packets = {
	.type = htons(PROTOCOL),
	.func = take_packet,
};

/* Put a frame into the next buffer; length is what the driver is told. Return: was there a buffer? */
static bool put_frame(unsigned int frame, unsigned int length)
{
	static struct request request;
	struct ethhdr *head;

	if (!fake_take(RX, &request))
		return false;
	memset(request.bytes[0], 0, request.length[0]);
	head = (struct ethhdr *)(request.bytes[0] + HEADER);
	ether_addr_copy(head->h_dest, net->dev_addr);
	head->h_source[0] = 2;
	head->h_proto = htons(PROTOCOL);
	for (unsigned int at = HEADER + ETH_HLEN; at < length && at < request.length[0]; at++)
		request.bytes[0][at] = pattern(frame, at - HEADER - ETH_HLEN);
	fake_use(RX, request.head, length);
	return true;
}

static void say_received(void)
{
	for (unsigned int i = 0; i < received && i < MANY; i++)
		say("frame %u sum %u", i, sums[i]);
	say("received %u waiting %u", received, fake_waiting(RX));
}

/* What is in the ring when the card was only found. */
static void test_buffers(void)
{
	static struct request request;
	static u8 *before[256];
	unsigned int count = 0, wrong = 0;

	while (fake_take(RX, &request)) {
		wrong += request.pieces != 1 || !request.writable[0] || request.length[0] != HEADER + 1518;
		for (unsigned int i = 0; i < count && i < 256; i++)
			wrong += abs(before[i] - request.bytes[0]) < 1530;
		if (count < 256)
			before[count] = request.bytes[0];
		count++;
	}
	say("buffers %u wrong %u kicked %u", count, wrong, kicks[RX]);
}

/* One frame after the other, with lengths true or not. */
static void test_receive(void)
{
	struct rtnl_link_stats64 stats;
	unsigned int good = 0;

	for (unsigned int i = 0; i < nr_lengths; i++) {
		good += lengths[i] >= HEADER + ETH_HLEN && lengths[i] <= HEADER + 1518;
		if (!put_frame(i, lengths[i])) {
			say("no buffer for frame %u", i);
			break;
		}
		fake_interrupt(RX);
		if (!comes(received >= good))
			break;
	}
	msleep(50);
	dev_get_stats(net, &stats);
	say_received();
	say("dropped %llu length errors %llu", stats.rx_dropped, stats.rx_length_errors);
}

/* Many of them while the poll cannot run; then one more. */
static void test_interrupts(void)
{
	local_bh_disable();
	for (unsigned int i = 0; i < nr_lengths; i++)
		if (put_frame(i, lengths[i]))
			fake_interrupt(RX);
	say("interrupts %u", interrupts[RX]);
	local_bh_enable();
	comes(received >= nr_lengths);
	msleep(50);
	if (put_frame(nr_lengths, 100))
		fake_interrupt(RX);
	comes(received > nr_lengths);
	say_received();
	say("interrupts %u", interrupts[RX]);
}

/* The poll kicks when it has taken all that it saw: just then comes another. */
static unsigned int late;

static void one_more(unsigned int queue)
{
	if (queue == RX && late) {
		late--;
		put_frame(nr_lengths - 1 - late, 100);
		fake_interrupt(RX);
	}
}

static void test_second(void)
{
	late = nr_lengths - 1;
	kicked = one_more;
	put_frame(0, 100);
	fake_interrupt(RX);
	comes(received >= nr_lengths);
	say_received();
}

/* ---- frames from the driver ---- */

static void note_free(struct sk_buff *skb)
{
	freed++;
}

static void send(unsigned int frame, unsigned int length)
{
	struct sk_buff *skb = alloc_skb(2048, GFP_KERNEL);

	if (!skb)
		return;
	skb_reserve(skb, LL_RESERVED_SPACE(net));
	skb_reset_mac_header(skb);
	for (unsigned int at = 0; at < length; at++)
		skb_put_u8(skb, pattern(frame, at));
	skb->dev = net;
	skb->protocol = htons(PROTOCOL);
	skb->destructor = note_free;
	dev_queue_xmit(skb);
}

/* Say what the driver sent. */
static void say_sent(const struct request *request)
{
	static u8 all[4096];
	unsigned int length = 0, zero = 0, wrong = 0;

	for (unsigned int i = 0; i < request->pieces; i++) {
		wrong += request->writable[i];
		if (request->length[i] > sizeof(all) - length)
			break;
		memcpy(all + length, request->bytes[i], request->length[i]);
		length += request->length[i];
	}
	while (zero < HEADER && !all[zero])
		zero++;
	say("sent length %u zeroes %u writable %u sum %u", length, zero, wrong,
	    length > HEADER ? sum(all + HEADER, length - HEADER) : 0);
}

/* Each goes at once. */
static void test_transmit(void)
{
	static struct request request;
	unsigned int i, back = 0;

	for (i = 0; i < nr_lengths; i++) {
		send(i, lengths[i]);
		if (!fake_take(TX, &request))
			break;
		say_sent(&request);
		fake_use(TX, request.head, 0);
		back++;
		fake_interrupt(TX);
		if (!comes(freed == back))
			break;
	}
	say("frames %u kicked %u freed %u", back, kicks[TX], freed);
}

/* The card takes nothing for a while. */
static void test_full(void)
{
	static struct rtnl_link_stats64 stats;
	static struct request held[64];
	unsigned int round, count, total = 0;

	for (unsigned int i = 0; i < nr_lengths; i++)
		send(i, lengths[i]);
	for (round = 0; total < nr_lengths && comes(fake_waiting(TX)); round++) {
		for (count = 0; count < 64 && fake_take(TX, &held[count]); count++)
			say_sent(&held[count]);
		say("round %u took %u stopped %u freed %u", round, count, netif_queue_stopped(net), freed);
		for (unsigned int i = 0; i < count; i++)
			fake_use(TX, held[i].head, 0);
		total += count;
		fake_interrupt(TX);
	}
	comes(freed == total);
	dev_get_stats(net, &stats);
	say("frames %u freed %u dropped %llu stopped %u", total, freed, stats.tx_dropped,
	    netif_queue_stopped(net));
}

static const struct {
	const char *name;
	void (*function)(void);
	bool open;
} tests[] = {
	{ "buffers", test_buffers, false },
	{ "receive", test_receive, true },
	{ "interrupts", test_interrupts, true },
	{ "second", test_second, true },
	{ "transmit", test_transmit, true },
	{ "full", test_full, true },
};

static int __init card_init(void)
{
	struct net_device *dev;
	int ret = fake_register(VIRTIO_ID_NET);

	if (ret)
		return ret;
	rtnl_lock();
	for_each_netdev(&init_net, dev)
		if (dev->dev.parent == &device.dev)
			net = dev;
	rtnl_unlock();
	if (!net || !queues[TX]) {
		say("the driver has not made a card");
		return 0;
	}
	dev_add_pack(&packets);
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
		if (strcmp(test, tests[i].name))
			continue;
		if (tests[i].open) {
			rtnl_lock();
			ret = dev_open(net, NULL);
			rtnl_unlock();
			say("open %d", ret);
		}
		tests[i].function();
	}
	kicked = NULL;
	say("done");
	return 0;
}

static void __exit card_exit(void)
{
	if (net)
		dev_remove_pack(&packets);
	fake_unregister();
	say("gone freed %u", freed);
}

module_init(card_init);
module_exit(card_exit);
