/* The daemon's configuration: what each key of twamp-server.conf means, its default, its text.
 *
 * The keys, defaults and meanings are described in twamp-server.conf(5). A struct twd_config is
 * made whole and never changed afterwards, but for what the command line overrides; a reload makes
 * another. In every max_* value 0 means no limit. */
#ifndef TWD_CONFIG_H
#define TWD_CONFIG_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/address.h"
#include "lib/reflector.h"
#include "reflector/value.h"

/* In place of a number of seconds: what the kernel knows, else what holds since 2017. */
enum { TWD_TAI_AUTO = -1 };

struct twd_config {
    uint16_t control_port; /* 0: any free port */
    uint16_t test_port;    /* 0: any free port */
    struct twd_port_range test_port_range;
    unsigned max_sessions; /* of clients without a key */
    unsigned max_sessions_authenticated;
    unsigned max_sessions_per_client;
    unsigned max_connections;
    unsigned max_connections_per_client;
    unsigned max_packet_rate;   /* packets per second and session */
    unsigned max_packet_size;   /* octets of UDP payload */
    unsigned workers;           /* 0: auto */
    unsigned receive_buffer;    /* octets, of each test socket */
    int64_t session_timeout_ns; /* REFWAIT; never 0 */
    int64_t servwait_ns;        /* 0: no limit */
    int64_t max_timeout_ns;
    int64_t clock_error_floor_ns;
    uint32_t modes;    /* security modes offered, at least one */
    uint32_t features; /* offered with all of them */
    uint32_t kdf_iterations;
    enum tw_padding padding;
    int tai_offset_s; /* TAI - UTC, of PTP timestamps; or TWD_TAI_AUTO */
    bool strict_stop;
    bool strict_error_estimate; /* packets with Multiplier 0 are dropped */
    bool third_party;
    bool nat;
    GArray *listen;      /* struct twd_listen; empty: all addresses */
    GArray *allow;       /* struct twd_prefix; empty: any */
    GArray *deny;        /* struct twd_prefix; empty: none */
    char *secrets_file;  /* empty: none */
    char *user;          /* empty: stay who we are */
    char *status_socket; /* empty: none */
};

/* All defaults. */
struct twd_config *twd_config_new(void);
void twd_config_free(struct twd_config *config);

/* Number of a key, for twd_config_set and for arrays of TWD_CONFIG_KEYS; -1: unknown. */
enum { TWD_CONFIG_KEYS = 31 };
int twd_config_find(const char *key);
const char *twd_config_key_name(int key);

/* The known key that is nearest to a word by edit distance. */
const char *twd_config_nearest(const char *word);

/* Whether the key takes a list, so that a further line adds to it. */
bool twd_config_is_list(int key);

/* Whether this value of a list key stands for a whole list ("all", "any", "none"). */
bool twd_config_is_whole(int key, const char *text);

/* Reads a value; lists are added to. On false the error begins with the value, not the key. */
bool twd_config_set(struct twd_config *config, int key, const char *text, GError **error);

/* Whether the values go together; else the error is about the key whose number goes to *key. */
bool twd_config_check(const struct twd_config *config, int *key, GError **error);

/* Every key as `key = value` lines that read as the same configuration; to be freed. */
char *twd_config_print(const struct twd_config *config);

/* Whether a control peer is served: not in `deny`, and in `allow` unless that is empty. */
bool twd_config_admits(const struct twd_config *config, const struct tw_address *peer);

/* What needs a restart: copies it from `running` into `fresh`. Returns the names of the keys that
 * were different, separated by ", ", to be freed, or NULL when none was. */
char *twd_config_keep_fixed(struct twd_config *fresh, const struct twd_config *running);

#endif
