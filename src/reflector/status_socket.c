/* The Unix socket of the status: whoever connects gets the object and the end; see status.h. */
#include "twamp-config.h" /* accept4 */

#include <errno.h>
#include <pwd.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/sys/clock.h"
#include "reflector/error.h"
#include "reflector/status.h"

/* How long nobody is answered when the system lets us take no one: he waits, the loop does not
 * spin. */
#define PAUSE_NS TW_NS_PER_S

/* Owner and group: the status tells who measures how much. */
enum { CLOSED_TO_OTHERS = 0117, BACKLOG = 8, ASK_TIMEOUT_S = 5 };

struct twd_status_socket {
    struct twd_watch watch;
    struct twd_timer pause;
    int spare; /* a descriptor kept for a caller when there is no other; -1: none to be had */
    struct twd_poller *poller;
    const struct twd_status *status;
    char *path;
};

static int open_unix(const char *path, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address->sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address->sun_path, path, strlen(path));
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int bind_private(int fd, const struct sockaddr_un *address)
{
    const mode_t before = umask(CLOSED_TO_OTHERS);
    const int result =
        bind(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ? 0 : -errno;
    umask(before);
    return result;
}

/* A socket that nobody listens at is what a killed daemon leaves behind. Whatever else is there
 * stays. */
static bool is_stale(const struct sockaddr_un *address)
{
    struct stat found;
    if (lstat(address->sun_path, &found) != 0 || !S_ISSOCK(found.st_mode))
        return false;
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    const bool stale = connect(fd, (const struct sockaddr *)address, sizeof(*address)) != 0 &&
                       errno == ECONNREFUSED;
    close(fd);
    return stale;
}

static int listen_at(int fd, const struct sockaddr_un *address)
{
    int result = bind_private(fd, address);
    if (result == -EADDRINUSE && is_stale(address) && unlink(address->sun_path) == 0)
        result = bind_private(fd, address);
    if (result == 0 && listen(fd, BACKLOG) != 0)
        result = -errno;
    return result;
}

static void keep_spare(struct twd_status_socket *status_socket)
{
    if (status_socket->spare < 0)
        status_socket->spare = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static void give_up_spare(struct twd_status_socket *status_socket)
{
    if (status_socket->spare >= 0)
        close(status_socket->spare);
    status_socket->spare = -1;
}

/* Connections may have taken all descriptors, and that is when people want to see the status. */
static int take_caller(struct twd_status_socket *socket)
{
    const int fd = accept4(socket->watch.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0 || (errno != EMFILE && errno != ENFILE))
        return fd;
    give_up_spare(socket);
    return accept4(socket->watch.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static void resume(struct twd_timer *timer, tw_mono now)
{
    (void)now;
    struct twd_status_socket *socket = timer->owner;
    twd_poller_change(socket->poller, &socket->watch, EPOLLIN);
}

/* The object fits into a new socket's buffer, so nobody can keep the daemon waiting. */
static void answer(struct twd_watch *watch, uint32_t events)
{
    (void)events;
    struct twd_status_socket *socket = watch->owner;
    const int fd = take_caller(socket);
    if (fd >= 0) {
        g_autofree char *text = twd_status_print(socket->status);
        (void)send(fd, text, strlen(text), MSG_NOSIGNAL);
        close(fd);
    } else if (errno != EAGAIN && errno != EWOULDBLOCK) {
        twd_poller_change(socket->poller, watch, 0);
        twd_poller_arm(socket->poller, &socket->pause, tw_mono_after(tw_clock_mono(), PAUSE_NS));
    }
    keep_spare(socket);
}

struct twd_status_socket *twd_status_socket_new(const char *path, struct twd_poller *poller,
                                                const struct twd_status *status, GError **error)
{
    struct sockaddr_un address;
    const int fd = open_unix(path, &address);
    int result = fd < 0 ? -errno : listen_at(fd, &address);
    struct twd_status_socket *socket = g_new0(struct twd_status_socket, 1);
    socket->watch = (struct twd_watch){.ready = answer, .owner = socket, .fd = fd};
    socket->pause = (struct twd_timer){.expire = resume, .owner = socket};
    socket->spare = -1;
    socket->poller = poller;
    socket->status = status;
    if (result == 0)
        result = twd_poller_add(poller, &socket->watch, EPOLLIN);
    if (result == 0) {
        socket->path = g_strdup(path);
        keep_spare(socket);
        return socket;
    }
    twd_fail(error, TWD_EXIT_FAILURE, "status socket %s: %s%s", path, g_strerror(-result),
             result == -EADDRINUSE ? "; another daemon listens there" : "");
    if (fd >= 0)
        close(fd);
    g_free(socket);
    return NULL;
}

void twd_status_socket_give(const struct twd_status_socket *socket, const char *user)
{
    const struct passwd *entry = user[0] == '\0' ? NULL : getpwnam(user);
    if (entry != NULL && lchown(socket->path, entry->pw_uid, entry->pw_gid) != 0)
        return; /* it stays root's, who can ask it all the same */
}

void twd_status_socket_free(struct twd_status_socket *socket)
{
    if (socket == NULL)
        return;
    twd_poller_remove(socket->poller, &socket->watch);
    twd_poller_arm(socket->poller, &socket->pause, TW_NEVER);
    give_up_spare(socket);
    close(socket->watch.fd);
    (void)unlink(socket->path); /* where we may not, the next start finds it stale */
    g_free(socket->path);
    g_free(socket);
}

static char *read_all(int fd, GError **error)
{
    g_autoptr(GString) text = g_string_new(NULL);
    char part[4096];
    for (;;) {
        const ssize_t n = read(fd, part, sizeof(part));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            twd_fail(error, TWD_EXIT_FAILURE, "status: no answer: %s", g_strerror(errno));
            return NULL;
        }
        if (n == 0)
            break;
        g_string_append_len(text, part, n);
    }
    if (text->len == 0) {
        twd_fail(error, TWD_EXIT_FAILURE, "status: the daemon is just ending; try again");
        return NULL;
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}

char *twd_status_ask(const char *path, GError **error)
{
    struct sockaddr_un address;
    const int fd = open_unix(path, &address);
    const struct timeval limit = {.tv_sec = ASK_TIMEOUT_S};
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) != 0 || /* of connect too */
        connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        const int fault = errno;
        twd_fail(error, TWD_EXIT_FAILURE, "status: no twamp-server answers at %s: %s%s", path,
                 g_strerror(fault), fault == EACCES ? "; ask as root or as the daemon's user" : "");
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    char *text = read_all(fd, error);
    close(fd);
    return text;
}
