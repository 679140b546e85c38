// SPDX-License-Identifier: GPL-2.0
/*
 * The kit's own driver for a virtio network card (chapter 10; virtio 1.2, 5.1),
 * in the place of the kernel's virtio_net. The virtio core calls probe and
 * remove, the network stack opens the card and hands over frames, interrupts of
 * both queues start one NAPI poll. Plain frames: no offloads.
 */
#include <linux/etherdevice.h>
#include <linux/if_vlan.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#if SOLUTION < 9999
#include <asm/ringlet.h>
#endif

#define HEADER		sizeof(struct virtio_net_hdr_v1)
#define BUFFER		(HEADER + ETH_HLEN + VLAN_HLEN + ETH_DATA_LEN)
#define MAX_BUFFERS	256	/* that wait for frames at a time */
#define SLOTS		2	/* of the ring for one frame to send: header and data */

/**
 * struct ringnet - a network card
 * @vdev:	the device; its priv points back here
 * @dev:	what the network stack knows
 * @rx:		each buffer in it is an sk_buff with room for BUFFER bytes. Only
 *		the poll touches it once the card is up
 * @tx:		each buffer in it is an sk_buff on its way out. Covered by the
 *		stack's transmit lock, and so is the rule that the stack's queue
 *		is stopped while fewer than SLOTS are free
 * @napi:	scheduled, or else the interrupts of both queues are on
 * @link:	reads the link's state: the interrupt that asks for it may not sleep
 * @header:	of every frame sent: all zero, as there are no offloads
 */
struct ringnet {
	struct virtio_device *vdev;
	struct net_device *dev;
	struct virtqueue *rx, *tx;
	struct napi_struct napi;
	struct work_struct link;
	struct virtio_net_hdr_v1 header;
};

static const struct net_device_ops ringnet_ops;
static void ringnet_interrupt(struct virtqueue *vq);
static int ringnet_poll(struct napi_struct *napi, int budget);
static void free_buffers(struct virtqueue *vq);

/* ---- probe ---- */

/* Before the features are settled: leave out an MTU that our buffers do not hold. */
static int ringnet_validate(struct virtio_device *vdev)
{
	u16 mtu = ETH_DATA_LEN;

	if (!virtio_has_feature(vdev, VIRTIO_F_VERSION_1))
		return -ENODEV;		/* its header would be shorter */
	virtio_cread_feature(vdev, VIRTIO_NET_F_MTU, struct virtio_net_config, mtu, &mtu);
	if (mtu < ETH_MIN_MTU || mtu > ETH_DATA_LEN)
		__virtio_clear_bit(vdev, VIRTIO_NET_F_MTU);
	return 0;
}

static void read_link(struct work_struct *work)
{
	struct ringnet *net = container_of(work, struct ringnet, link);
	u16 status = VIRTIO_NET_S_LINK_UP;

	virtio_cread_feature(net->vdev, VIRTIO_NET_F_STATUS, struct virtio_net_config, status,
			     &status);
	if (status & VIRTIO_NET_S_LINK_UP)
		netif_carrier_on(net->dev);
	else
		netif_carrier_off(net->dev);
}

static void read_config(struct ringnet *net)
{
	u8 mac[ETH_ALEN] = {};
	u16 mtu = ETH_DATA_LEN;

	if (virtio_has_feature(net->vdev, VIRTIO_NET_F_MAC))
		virtio_cread_bytes(net->vdev, offsetof(struct virtio_net_config, mac), mac,
				   sizeof(mac));
	if (is_valid_ether_addr(mac))
		eth_hw_addr_set(net->dev, mac);
	else
		eth_hw_addr_random(net->dev);
	/* Clamped, though validate() saw it: the device may have changed its mind. */
	virtio_cread_feature(net->vdev, VIRTIO_NET_F_MTU, struct virtio_net_config, mtu, &mtu);
	net->dev->max_mtu = clamp(mtu, ETH_MIN_MTU, ETH_DATA_LEN);
	net->dev->mtu = net->dev->max_mtu;
	read_link(&net->link);
}

static struct sk_buff *new_buffer(struct ringnet *net, gfp_t gfp)
{
	return __netdev_alloc_skb_ip_align(net->dev, BUFFER, gfp);
}

/* Give the device a buffer to fill. It is the ring's from here on, or gone. */
static int post_buffer(struct ringnet *net, struct sk_buff *skb, gfp_t gfp)
{
#if SOLUTION >= 1001
	struct scatterlist sg;
	int ret;

	sg_init_one(&sg, skb->data, BUFFER);
	ret = virtqueue_add_inbuf(net->rx, &sg, 1, skb, gfp);
	if (ret)
		dev_kfree_skb_any(skb);
	return ret;
#else
	/* Exercise 10.1: BUFFER bytes for the device to write; skb comes back with them. */
	EXERCISE("10.1");
	return -ENOSPC;
#endif
}

static int fill_rx(struct ringnet *net)
{
#if SOLUTION >= 1001
	unsigned int count = min(MAX_BUFFERS, net->rx->num_free);
	int ret = 0;

	while (count-- && !ret) {
		struct sk_buff *skb = new_buffer(net, GFP_KERNEL);

		ret = skb ? post_buffer(net, skb, GFP_KERNEL) : -ENOMEM;
	}
	return ret;
#else
	/* Exercise 10.1: as many as the ring takes, but no more than MAX_BUFFERS. */
	EXERCISE("10.1");
	return post_buffer(net, new_buffer(net, GFP_KERNEL), GFP_KERNEL);
#endif
}

static int find_queues(struct ringnet *net)
{
	struct virtqueue_info infos[] = {
		{ "input", ringnet_interrupt },
		{ "output", ringnet_interrupt },
	};
	struct virtqueue *vqs[ARRAY_SIZE(infos)];
	int ret = virtio_find_vqs(net->vdev, ARRAY_SIZE(infos), vqs, infos, NULL);

	if (ret)
		return ret;
	net->rx = vqs[0];
	net->tx = vqs[1];
	return 0;
}

static int ringnet_probe(struct virtio_device *vdev)
{
	struct net_device *dev = alloc_etherdev(sizeof(struct ringnet));
	struct ringnet *net;
	int ret;

	if (!dev)
		return -ENOMEM;
	net = netdev_priv(dev);
	net->vdev = vdev;
	net->dev = dev;
	vdev->priv = net;
	INIT_WORK(&net->link, read_link);
	SET_NETDEV_DEV(dev, &vdev->dev);
	dev->netdev_ops = &ringnet_ops;
	dev->pcpu_stat_type = NETDEV_PCPU_STAT_TSTATS;
	netif_napi_add(dev, &net->napi, ringnet_poll);
	read_config(net);
	ret = find_queues(net);
	if (ret)
		goto netdev;
	ret = fill_rx(net);
	if (ret)
		goto queues;
	/* Before the card can be opened: no frame may go to a device that is not ready. */
	virtio_device_ready(vdev);
	virtqueue_kick(net->rx);
	ret = register_netdev(dev);
	if (!ret)
		return 0;
queues:
	virtio_reset_device(vdev);
	free_buffers(net->rx);
	vdev->config->del_vqs(vdev);
netdev:
	free_netdev(dev);
	return ret;
}

/* ---- run: up and down ---- */

/* Who sets NAPI's "scheduled" bit owns the interrupts until the poll gives it back. */
static void schedule_poll(struct ringnet *net)
{
#if SOLUTION >= 1002
	if (!napi_schedule_prep(&net->napi))
		return;
	virtqueue_disable_cb(net->rx);
	virtqueue_disable_cb(net->tx);
	__napi_schedule(&net->napi);
#else
	/* Exercise 10.2: one poll for both queues, and until it is done no more interrupts. */
	EXERCISE("10.2");
#endif
}

/* Until the card is first opened, and again while it is closed, NAPI lets nobody schedule it. */
static void ringnet_interrupt(struct virtqueue *vq)
{
	schedule_poll(vq->vdev->priv);
}

static int ringnet_open(struct net_device *dev)
{
	struct ringnet *net = netdev_priv(dev);

	napi_enable(&net->napi);
	/* An interrupt that came while it was disabled is lost: look. */
	local_bh_disable();
	schedule_poll(net);
	local_bh_enable();
	return 0;
}

static int ringnet_stop(struct net_device *dev)
{
	struct ringnet *net = netdev_priv(dev);

	napi_disable(&net->napi);
	return 0;
}

/* ---- run: transmit ---- */

static int add_frame(struct ringnet *net, struct sk_buff *skb)
{
#if SOLUTION >= 1003
	struct scatterlist sg[SLOTS];

	/* The data is in one piece: the stack sees to that for a card without NETIF_F_SG. */
	sg_init_table(sg, SLOTS);
	sg_set_buf(&sg[0], &net->header, HEADER);
	sg_set_buf(&sg[1], skb->data, skb->len);
	return virtqueue_add_outbuf(net->tx, sg, SLOTS, skb, GFP_ATOMIC);
#else
	/* Exercise 10.3: header, then data, which is in one piece without NETIF_F_SG. */
	EXERCISE("10.3");
	return -ENOSPC;
#endif
}

/* The stack calls this with the transmit lock held. */
static netdev_tx_t ringnet_start_xmit(struct sk_buff *skb, struct net_device *dev)
{
	struct ringnet *net = netdev_priv(dev);
#if SOLUTION >= 1003
	unsigned int length = skb->len;		/* the skb may be freed as soon as it is added */

	if (add_frame(net, skb)) {
		DEV_STATS_INC(dev, tx_dropped);
		dev_kfree_skb_any(skb);
	} else {
		dev_sw_netstats_tx_add(dev, 1, length);
	}
	/* The poll that makes room wakes the queue; it takes the same lock, so not before this. */
	if (net->tx->num_free < SLOTS)
		netif_stop_queue(dev);
	/* When more is coming one kick does for all; a stopped queue gets no more. */
	if ((!netdev_xmit_more() || netif_queue_stopped(dev)) && virtqueue_kick_prepare(net->tx))
		virtqueue_notify(net->tx);
	return NETDEV_TX_OK;
#else
	/* Exercise 10.3: add, count, stop what would not find room, kick. */
	add_frame(net, skb);
	return NETDEV_TX_OK;
#endif
}

/* The poll's half: free what has gone. Return: for virtqueue_poll(), how far it came. */
static unsigned int free_sent(struct ringnet *net, int budget)
{
#if SOLUTION >= 1003
	struct netdev_queue *txq = netdev_get_tx_queue(net->dev, 0);
	unsigned int length, seen;
	struct sk_buff *skb;

	__netif_tx_lock(txq, smp_processor_id());
	while ((skb = virtqueue_get_buf(net->tx, &length)))
		napi_consume_skb(skb, budget);
	if (net->tx->num_free >= SLOTS)
		netif_tx_wake_queue(txq);
	seen = virtqueue_enable_cb_prepare(net->tx);
	__netif_tx_unlock(txq);
	return seen;
#else
	/* Exercise 10.3: free, wake, and interrupts on, all under the transmit lock. */
	return virtqueue_enable_cb_prepare(net->tx);
#endif
}

/* ---- run: receive ---- */

static void deliver(struct ringnet *net, struct sk_buff *skb, unsigned int length)
{
	skb_put(skb, length);
	skb_pull(skb, HEADER);		/* unread: without offloads it says nothing */
	dev_sw_netstats_rx_add(net->dev, skb->len);
	skb->protocol = eth_type_trans(skb, net->dev);
	napi_gro_receive(&net->napi, skb);
}

/*
 * A frame goes up only against a fresh buffer; otherwise it is dropped and its
 * own buffer goes back. So the ring never runs dry, which would end the
 * interrupts and with them all receiving.
 */
static void take_frame(struct ringnet *net, struct sk_buff *skb, unsigned int length)
{
#if SOLUTION >= 1002
	struct sk_buff *fresh = NULL;

	/* The device says how much it wrote: that is a claim. */
	if (length < HEADER + ETH_HLEN || length > BUFFER)
		DEV_STATS_INC(net->dev, rx_length_errors);
	else
		fresh = new_buffer(net, GFP_ATOMIC);
	if (fresh)
		deliver(net, skb, length);
	else
		DEV_STATS_INC(net->dev, rx_dropped);
	post_buffer(net, fresh ?: skb, GFP_ATOMIC);
#else
	/* Exercise 10.2: length is the device's claim. Count what is dropped. */
	EXERCISE("10.2");
	deliver(net, skb, length);
#endif
}

static int receive(struct ringnet *net, int budget)
{
	struct sk_buff *skb;
	unsigned int length;
	int done = 0;

	while (done < budget && (skb = virtqueue_get_buf(net->rx, &length))) {
		take_frame(net, skb, length);
		done++;
	}
	if (done)
		virtqueue_kick(net->rx);
	return done;
}

/* ---- run: the poll, of both queues ---- */

static int ringnet_poll(struct napi_struct *napi, int budget)
{
	struct ringnet *net = container_of(napi, struct ringnet, napi);
	int done = receive(net, budget);
	unsigned int rx_seen, tx_seen;

	tx_seen = free_sent(net, budget);
#if SOLUTION >= 1002
	if (done == budget)
		return done;	/* there may be more: stay scheduled */

	/*
	 * Interrupts on, then NAPI off: one that comes between finds NAPI still
	 * scheduled and makes napi_complete_done() poll once more. What the
	 * device used before interrupts were on has none: look once again.
	 */
	rx_seen = virtqueue_enable_cb_prepare(net->rx);
	if (napi_complete_done(napi, done) &&
	    (virtqueue_poll(net->rx, rx_seen) || virtqueue_poll(net->tx, tx_seen)))
		schedule_poll(net);
#else
	/* Exercise 10.2: is it over? Then interrupts on, NAPI off; and what came meanwhile? */
	EXERCISE("10.2");
	rx_seen = tx_seen;
	virtqueue_poll(net->rx, rx_seen);
#endif
	return done;
}

static const struct net_device_ops ringnet_ops = {
	.ndo_open = ringnet_open,
	.ndo_stop = ringnet_stop,
	.ndo_start_xmit = ringnet_start_xmit,
	.ndo_validate_addr = eth_validate_addr,
};

static void ringnet_config_changed(struct virtio_device *vdev)
{
	struct ringnet *net = vdev->priv;

	schedule_work(&net->link);
}

/* ---- tear down ---- */

/* Only after a reset: until then they are the device's. */
static void free_buffers(struct virtqueue *vq)
{
	struct sk_buff *skb;

	while ((skb = virtqueue_detach_unused_buf(vq)))
		dev_kfree_skb_any(skb);
}

static void ringnet_remove(struct virtio_device *vdev)
{
	struct ringnet *net = vdev->priv;

	/* The core has turned config_changed off: no new work comes behind this. */
	cancel_work_sync(&net->link);
	unregister_netdev(net->dev);	/* closes the card: no poll, no frame to send any more */
	virtio_reset_device(vdev);
	free_buffers(net->rx);
	free_buffers(net->tx);
	vdev->config->del_vqs(vdev);
	free_netdev(net->dev);
}

static const struct virtio_device_id ringnet_ids[] = {
	{ VIRTIO_ID_NET, VIRTIO_DEV_ANY_ID },
	{}
};

static const unsigned int ringnet_features[] = {
	VIRTIO_NET_F_MAC, VIRTIO_NET_F_STATUS, VIRTIO_NET_F_MTU,
};

static struct virtio_driver ringnet_driver = {
	.driver.name = KBUILD_MODNAME,
	.id_table = ringnet_ids,
	.feature_table = ringnet_features,
	.feature_table_size = ARRAY_SIZE(ringnet_features),
	.validate = ringnet_validate,
	.probe = ringnet_probe,
	.config_changed = ringnet_config_changed,
	.remove = ringnet_remove,
};
module_virtio_driver(ringnet_driver);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Ringlet's own driver for virtio network cards");
