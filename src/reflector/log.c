/* Log lines; see log.h. The journal gets fields, a terminal gets them in front of the text. */
#include "reflector/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <syslog.h>
#include <unistd.h>

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#include "lib/sys/clock.h"

#define LIMIT_WINDOW_NS (10 * TW_NS_PER_S)

enum { LIMIT_LINES = 10, FIELDS_MAX = 5 };

static const struct {
    const char *name;
    int priority;
} levels[] = {
    [TWD_LOG_ERROR] = {"error", LOG_ERR},
    [TWD_LOG_WARNING] = {"warning", LOG_WARNING},
    [TWD_LOG_INFO] = {"info", LOG_INFO},
    [TWD_LOG_DEBUG] = {"debug", LOG_DEBUG},
};

/* Process-wide, as stderr is. */
static bool to_journal;
static enum twd_log_level threshold = TWD_LOG_INFO;

/* systemd names in JOURNAL_STREAM the device and inode of the stream it gave us; when somebody
 * redirected stderr after that, lines belong there. */
void twd_log_open(void)
{
    const char *stream = g_getenv("JOURNAL_STREAM");
    uintmax_t device;
    uintmax_t inode;
    struct stat ours;
    char behind;
    if (stream == NULL || fstat(STDERR_FILENO, &ours) != 0)
        return;
    to_journal = sscanf(stream, "%" SCNuMAX ":%" SCNuMAX "%c", &device, &inode, &behind) == 2 &&
                 device == ours.st_dev && inode == ours.st_ino;
}

void twd_log_set_level(enum twd_log_level level)
{
    threshold = level;
}

bool twd_log_level_from_name(const char *name, enum twd_log_level *level)
{
    for (size_t i = 0; i < G_N_ELEMENTS(levels); i++) {
        if (strcmp(name, levels[i].name) == 0) {
            *level = (enum twd_log_level)i;
            return true;
        }
    }
    return false;
}

static void add_field(GPtrArray *fields, char *field)
{
    g_ptr_array_add(fields, field);
}

static void send_to_journal(enum twd_log_level level, const struct twd_log_about *about,
                            const char *text)
{
    g_autoptr(GPtrArray) fields = g_ptr_array_new_with_free_func(g_free);
    add_field(fields, g_strdup_printf("MESSAGE=%s", text));
    add_field(fields, g_strdup_printf("PRIORITY=%d", levels[level].priority));
    if (about != NULL && about->peer != NULL)
        add_field(fields, g_strdup_printf("TWAMP_PEER=%s", about->peer));
    if (about != NULL && about->sid != NULL)
        add_field(fields, g_strdup_printf("TWAMP_SID=%s", about->sid));
    if (about != NULL && about->accept >= 0)
        add_field(fields, g_strdup_printf("TWAMP_ACCEPT=%d", about->accept));

    struct iovec parts[FIELDS_MAX];
    guint count = 0;
    for (; count < fields->len; count++)
        parts[count] = (struct iovec){.iov_base = fields->pdata[count],
                                      .iov_len = strlen(fields->pdata[count])};
    sd_journal_sendv(parts, (int)count);
}

static void send_to_stderr(enum twd_log_level level, const struct twd_log_about *about,
                           const char *text)
{
    g_autoptr(GString) line = g_string_new(NULL);
    g_string_printf(line, "twamp-server: %s: ", levels[level].name);
    if (about != NULL && about->peer != NULL)
        g_string_append_printf(line, "%s: ", about->peer);
    if (about != NULL && about->sid != NULL)
        g_string_append_printf(line, "session %s: ", about->sid);
    g_string_append_printf(line, "%s\n", text);
    fputs(line->str, stderr);
}

static void G_GNUC_PRINTF(3, 0)
    send_line(enum twd_log_level level, const struct twd_log_about *about, const char *format,
              va_list arguments, unsigned left_out)
{
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    if (left_out > 0) {
        char *longer = g_strdup_printf("%s (%u similar lines left out before)", text, left_out);
        g_free(text);
        text = longer;
    }
    if (to_journal)
        send_to_journal(level, about, text);
    else
        send_to_stderr(level, about, text);
}

void twd_log(enum twd_log_level level, const struct twd_log_about *about, const char *format, ...)
{
    if (level > threshold)
        return;
    va_list arguments;
    va_start(arguments, format);
    send_line(level, about, format, arguments, 0);
    va_end(arguments);
}

void twd_log_limited(struct twd_log_limit *limit, enum twd_log_level level,
                     const struct twd_log_about *about, const char *format, ...)
{
    if (level > threshold)
        return;
    const tw_mono now = tw_clock_mono();
    if (limit->since.ns == 0 || now.ns - limit->since.ns >= LIMIT_WINDOW_NS) {
        limit->since = now;
        limit->lines = 0;
    }
    if (limit->lines >= LIMIT_LINES) {
        limit->left_out++;
        return;
    }
    limit->lines++;
    va_list arguments;
    va_start(arguments, format);
    send_line(level, about, format, arguments, limit->left_out);
    va_end(arguments);
    limit->left_out = 0;
}
