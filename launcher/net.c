// SPDX-License-Identifier: GPL-2.0
/*
 * The network card (chapter 10; virtio 1.2, 5.1): queue 0 to the guest, queue 1
 * from it. Two backends, both of which take and give frames with a virtio_net
 * header of 12 bytes in front: a tap of the host, or a SOCK_SEQPACKET socket
 * between two launchers, of which the first to come listens. A backend that
 * goes away takes the link down and nothing else.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "virtio.h"

#define HEADER		sizeof(struct virtio_net_hdr_v1)
#define FRAME_MAX	(HEADER + 14 + 4 + 65535)	/* the largest that GSO makes */
#define ETHERNET_MTU	1500

#define OFFLOADS	(BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) | \
			 BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) | \
			 BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6))

enum { QUEUE_RX, QUEUE_TX };

/**
 * struct net - a network card
 *
 * @lock:	covers @fd and @listener, which the receiving thread replaces and
 *		the sending thread uses
 * @fd:		where frames come and go, non-blocking; -1: no peer
 * @listener:	socket backend: where the peer will connect, or -1
 * @path:	socket backend: its name; NULL for a tap
 * @frame:	the receiving thread's
 */
struct net {
	struct device device;
	pthread_mutex_t lock;
	int fd;
	int listener;
	const char *path;
	u8 frame[FRAME_MAX];
};

static struct net *to_net(struct device *device)
{
	return container_of(device, struct net, device);
}

static void set_link(struct net *net, bool up)
{
	u16 status = up ? VIRTIO_NET_S_LINK_UP : 0;

	device_config(&net->device, offsetof(struct virtio_net_config, status), &status,
		      sizeof(status));
}

/* ---- the socket backend ---- */

/* Publish the socket only when it listens: a name that refuses is a dead one. */
static int listen_at(const struct sockaddr_un *address)
{
	struct sockaddr_un mine = *address;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), error = 0;

	snprintf(mine.sun_path, sizeof(mine.sun_path), "%.90s.%d", address->sun_path, getpid());
	unlink(mine.sun_path);
	if (fd < 0 || bind(fd, (void *)&mine, sizeof(mine)) < 0 || listen(fd, 1) < 0 ||
	    link(mine.sun_path, address->sun_path) < 0)
		error = errno;
	unlink(mine.sun_path);
	if (!error)
		return fd;
	close(fd);
	errno = error;
	return -1;
}

/* Connect to the one who came first, or be it. Return: false with errno set. */
static bool open_socket(struct net *net)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;

	strcpy(address.sun_path, net->path);
	for (int try = 0; try < 3; try++) {
		fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (fd >= 0 && connect(fd, (void *)&address, sizeof(address)) == 0) {
			net->fd = fd;
			return true;
		}
		close(fd);
		if (errno == ECONNREFUSED)
			unlink(net->path);
		else if (errno != ENOENT)
			return false;
		net->listener = listen_at(&address);
		if (net->listener >= 0)
			return true;
		if (errno != EEXIST)
			return false;
	}
	return false;
}

static void accept_peer(struct net *net)
{
	int fd = accept4(net->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	pthread_mutex_lock(&net->lock);
	net->fd = fd;
	pthread_mutex_unlock(&net->lock);
	set_link(net, true);
}

/* ---- either backend ---- */

static void backend_lost(struct net *net)
{
	set_link(net, false);
	pthread_mutex_lock(&net->lock);
	close(net->fd);
	net->fd = -1;
	if (!net->path)
		warn("%s: the tap is gone; the guest's link is down", net->device.name);
	else if (net->listener < 0 && !open_socket(net))
		warn("%s: the peer is gone: %m; the guest's link is down", net->device.name);
	pthread_mutex_unlock(&net->lock);
	if (net->fd >= 0)
		set_link(net, true);
}

/* Wait for a frame. Return: its length, or 0 if the thread is to leave. */
static size_t receive(struct net *net, struct virtqueue *vq)
{
	for (;;) {
		ssize_t n = net->fd < 0 ? -1 : read(net->fd, net->frame, sizeof(net->frame));

		if (n > (ssize_t)HEADER)
			return n;
		if (net->fd >= 0 && (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)))
			backend_lost(net);
		else if (net->fd < 0 && net->listener >= 0)
			accept_peer(net);
		queue_interrupt(vq);
		if (!queue_wait(vq, net->fd >= 0 ? net->fd : net->listener, POLLIN))
			return 0;
	}
}

static u8 *writable_byte(const struct chain *chain, size_t offset)
{
	const struct iovec *iov = chain->in;

	while (offset >= iov->iov_len)
		offset -= (iov++)->iov_len;
	return (u8 *)iov->iov_base + offset;
}

/*
 * Put a frame into @chain and, with MRG_RXBUF, into as many more as it takes;
 * the driver sees all of them at once. Return: false if the thread is to leave.
 */
static bool deliver(struct net *net, struct virtqueue *vq, struct chain *chain, size_t length)
{
#if SOLUTION >= 1004
	bool merge = net->device.features & BIT(VIRTIO_NET_F_MRG_RXBUF);
	const size_t at = offsetof(struct virtio_net_hdr_v1, num_buffers);
	size_t done = 0;
	u8 *count[2];
	u16 buffers = 0;

	if (chain->in_length < HEADER || (!merge && chain->in_length < length)) {
		queue_push(vq, chain->head, 0);	/* too small: the frame is dropped */
		return true;
	}
	count[0] = writable_byte(chain, at);
	count[1] = writable_byte(chain, at + 1);
	for (;;) {
		size_t now = chain_write(chain, net->frame + done, length - done);

		queue_fill(vq, chain->head, now);
		done += now;
		buffers++;
		if (done == length)
			break;
		if (!queue_next(vq, chain))
			return false;
	}
	*count[0] = buffers;
	*count[1] = buffers >> 8;
	queue_publish(vq);
	return true;
#else
	/* Exercise 10.4: too small? Fill, next, ...; num_buffers; show all of it at once. */
	EXERCISE("10.4");
	return writable_byte(chain, 0) + length == net->frame && queue_next(vq, chain);
#endif
}

static void serve_rx(struct virtqueue *vq)
{
	struct net *net = to_net(vq->device);
	struct chain chain;
	size_t length;

	while (queue_next(vq, &chain)) {
		length = receive(net, vq);
		if (!length)
			return;
#if SOLUTION >= 1004
		/* A peer's word on checksums and GSO was never negotiated. */
		if (net->path)
			memset(net->frame, 0, HEADER);
#else
		/* Exercise 10.4: whose is the header? */
		EXERCISE("10.4");
#endif
		if (!deliver(net, vq, &chain, length))
			return;
	}
}

static ssize_t send_once(struct net *net, struct chain *chain, int *fd)
{
	ssize_t n;

	pthread_mutex_lock(&net->lock);
	*fd = net->fd;
	n = writev(*fd, chain->out, chain->nr_out);
	pthread_mutex_unlock(&net->lock);
	return n;
}

/* A frame that the backend does not take, for whatever reason, is dropped. */
static void serve_tx(struct virtqueue *vq)
{
	struct net *net = to_net(vq->device);
	struct chain chain;
	int fd;

	while (queue_next(vq, &chain)) {
#if SOLUTION >= 1005
		if (chain.out_length > HEADER && chain.out_length <= FRAME_MAX &&
		    send_once(net, &chain, &fd) < 0 && errno == EAGAIN) {
			queue_interrupt(vq);
			if (!queue_wait(vq, fd, POLLOUT))
				return;
			send_once(net, &chain, &fd);
		}
		queue_push(vq, chain.head, 0);
#else
		/* Exercise 10.5: is it a frame? Is the backend full? Then back with it. */
		EXERCISE("10.5");
		send_once(net, &chain, &fd);
#endif
	}
}

/* 5.1.3.1: what needs what. */
static bool features_ok(u64 features)
{
	static const struct { u64 feature, needs; } rules[] = {
		{ BIT(VIRTIO_NET_F_HOST_TSO4), BIT(VIRTIO_NET_F_CSUM) },
		{ BIT(VIRTIO_NET_F_HOST_TSO6), BIT(VIRTIO_NET_F_CSUM) },
		{ BIT(VIRTIO_NET_F_GUEST_TSO4), BIT(VIRTIO_NET_F_GUEST_CSUM) },
		{ BIT(VIRTIO_NET_F_GUEST_TSO6), BIT(VIRTIO_NET_F_GUEST_CSUM) },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		if (features & rules[i].feature && !(features & rules[i].needs))
			return false;
	return true;
}

/* The tap may send the guest only what the driver said it can take. */
static void negotiated(struct device *device)
{
	static const struct { u64 feature; unsigned int flag; } map[] = {
		{ BIT(VIRTIO_NET_F_GUEST_CSUM), TUN_F_CSUM },
		{ BIT(VIRTIO_NET_F_GUEST_TSO4), TUN_F_TSO4 },
		{ BIT(VIRTIO_NET_F_GUEST_TSO6), TUN_F_TSO6 },
	};
	struct net *net = to_net(device);
	unsigned int flags = 0;

	for (size_t i = 0; i < ARRAY_SIZE(map); i++)
		if (device->features & map[i].feature)
			flags |= map[i].flag;
	if (!net->path && net->fd >= 0 && ioctl(net->fd, TUNSETOFFLOAD, flags) < 0)
		warn("%s: the tap refuses offloads: %m", device->name);
}

static void close_net(struct device *device)
{
	struct net *net = to_net(device);

	if (net->listener >= 0)
		unlink(net->path);
}

static const struct device_type net_type = {
	.id = VIRTIO_ID_NET,
	.queues = 2,
	.serve = { [QUEUE_RX] = serve_rx, [QUEUE_TX] = serve_tx },
	.features_ok = features_ok,
	.negotiated = negotiated,
	.close = close_net,
};

/* Return: its MTU. */
static u16 open_tap(struct net *net, const char *name)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int size = HEADER, query;
	u16 mtu = ETHERNET_MTU;

	if (strlen(name) >= IFNAMSIZ || !if_nametoindex(name))
		die(EXIT_HOST, "-n tap=%s: no such interface; make it with `ip tuntap add dev %s mode tap user $USER && ip link set %s up`",
		    name, name, name);
	net->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (net->fd < 0)
		die(EXIT_HOST, "/dev/net/tun: %m; load the module tun, or change the mode of the file");
	strcpy(ifr.ifr_name, name);
	if (ioctl(net->fd, TUNSETIFF, &ifr) < 0)
		die(EXIT_HOST, "-n tap=%s: %m; %s", name,
		    errno == EBUSY ? "another launcher has it: end that one or make another tap" :
		    errno == EPERM ? "it is not yours: make it with `ip tuntap add ... user $USER`" :
		    "it is not a plain tap: make it with `ip tuntap add ... mode tap`");
	if (ioctl(net->fd, TUNSETVNETHDRSZ, &size) < 0)
		die(EXIT_HOST, "-n tap=%s: cannot set the size of its header: %m", name);
	query = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (query >= 0 && ioctl(query, SIOCGIFMTU, &ifr) == 0)
		mtu = ifr.ifr_mtu;
	close(query);
	return mtu;
}

static void parse_mac(const char *text, u8 *mac)
{
	int used = 0;

	if (sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", &mac[0], &mac[1], &mac[2],
		   &mac[3], &mac[4], &mac[5], &used) != 6 || text[used] || mac[0] & 1)
		die(EXIT_USAGE, "-n mac=%s: not the address of one card; such as 52:54:00:12:34:56",
		    text);
}

/* The same option, the same address, run after run: locally administered. */
static void default_mac(const char *text, u8 *mac)
{
	u64 hash = 0xcbf29ce484222325;	/* FNV-1a */

	for (; *text; text++)
		hash = (hash ^ (u8)*text) * 0x100000001b3;
	mac[0] = 0x52;
	for (int i = 1; i < 6; i++)
		mac[i] = hash >> (8 * i);
}

/**
 * net_add() - -n tap=NAME[,mac=MAC] or -n socket=PATH[,mac=MAC]
 * @vm:		the guest
 * @argument:	the text; cut up here
 */
void net_add(struct vm *vm, char *argument)
{
	struct virtio_net_config config = { .mtu = ETHERNET_MTU };
	struct net *net = calloc(1, sizeof(*net));
	char *rest = argument, *tap = NULL, *mac = NULL, *name, *value;
	u64 features = BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_STATUS) |
		       BIT(VIRTIO_NET_F_MTU) | BIT(VIRTIO_NET_F_MRG_RXBUF);

	if (!net)
		die(EXIT_HOST, "-n %s: %m", argument);
	net->fd = net->listener = -1;
	pthread_mutex_init(&net->lock, NULL);
	while (next_suboption(&rest, &name, &value)) {
		if (!strcmp(name, "tap") && value)
			tap = value;
		else if (!strcmp(name, "socket") && value)
			net->path = value;
		else if (!strcmp(name, "mac") && value)
			mac = value;
		else
			die(EXIT_USAGE, "-n %s: none of tap=NAME, socket=PATH, mac=MAC, none", name);
	}
	if (!tap == !net->path)
		die(EXIT_USAGE, "-n: say either tap=NAME or socket=PATH");
	if (net->path && strlen(net->path) > 90)
		die(EXIT_USAGE, "-n socket=%s: longer than 90 characters", net->path);
	if (tap)
		config.mtu = open_tap(net, tap);
	else if (!open_socket(net))
		die(EXIT_HOST, "-n socket=%s: %m; choose a path that you may write", net->path);

	default_mac(tap ? tap : net->path, config.mac);
	if (net->fd >= 0 && net->path)
		config.mac[5] ^= 1;	/* not that of the one who came first */
	if (mac)
		parse_mac(mac, config.mac);
	if (net->fd >= 0)
		config.status = VIRTIO_NET_S_LINK_UP;
	net->device.type = &net_type;
	snprintf(net->device.name, sizeof(net->device.name), "net %s", tap ? tap : net->path);
	device_add(vm, &net->device, tap ? features | OFFLOADS : features, &config,
		   offsetof(struct virtio_net_config, speed));
}
