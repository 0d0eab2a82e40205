// SPDX-License-Identifier: MIT
#include "vbd/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int address_of(const char *path, struct sockaddr_un *out, socklen_t *len)
{
	size_t bytes = strlen(path);

	if ((*path != '/' && *path != '@') || bytes < 2 || bytes >= sizeof(out->sun_path))
		return -EINVAL;
	memset(out, 0, sizeof(*out));
	out->sun_family = AF_UNIX;
	memcpy(out->sun_path, path, bytes);
	if (*path == '@')
		out->sun_path[0] = 0;	/* a name of no file */
	*len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes);
	return 0;
}

int vbd_notify_connect(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to;
	socklen_t len;
	int fd, rc;

	if (!path || !*path)
		return -1;
	rc = address_of(path, &to, &len);
	unsetenv("NOTIFY_SOCKET");
	if (rc)
		return rc;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&to, len)) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

void vbd_notify(int fd, const char *state)
{
	/* Who does not listen is not waited for. */
	if (fd >= 0)
		(void)!send(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT);
}
