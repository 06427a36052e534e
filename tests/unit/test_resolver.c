/* lib/sys/resolver.h. The C library's getaddrinfo is replaced by the linker (--wrap), so that names
 * can be made to hang, to fail and to have any addresses, and so is the clock by which a look-up is
 * slow; the test program decides, the code under test is the shipped one. */
#include "twamp-config.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/sys/clock.h"
#include "lib/sys/resolver.h"
#include "lib/sys/socket.h"

enum { PATIENCE_MS = 10000 };

/* A name that begins with "hang" does not come back before it is let go, the first first; then the
 * name is unknown. "many" has more addresses than fit, "quick" has one. All other names are asked
 * of the system. */
static sem_t hanging; /* posted when a look-up has begun to hang */
static atomic_int returned;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER;
static int asked, let_go; /* look-ups of names that begin with "hang"; guarded by the lock */
static atomic_llong ahead_ns;
static atomic_bool signals_blocked;

int __real_getaddrinfo(const char *, const char *, const struct addrinfo *, struct addrinfo **);
int __wrap_getaddrinfo(const char *, const char *, const struct addrinfo *, struct addrinfo **);
void __real_freeaddrinfo(struct addrinfo *);
void __wrap_freeaddrinfo(struct addrinfo *);

tw_mono __real_tw_clock_mono(void);
tw_mono __wrap_tw_clock_mono(void);

tw_mono __wrap_tw_clock_mono(void)
{
    return tw_mono_after(__real_tw_clock_mono(), atomic_load(&ahead_ns));
}

/* A made-up list; freeaddrinfo of the system must not see it. */
static struct sockaddr_in6 made_up_six[6];
static struct sockaddr_in made_up_four[2];
static struct addrinfo made_up[8];

static int many(const struct addrinfo *hints, struct addrinfo **list)
{
    struct addrinfo **end = list;
    for (unsigned i = 0; i < 8; i++) {
        struct addrinfo *item = &made_up[i];
        *item = (struct addrinfo){.ai_socktype = hints->ai_socktype};
        if (i < 6) {
            /* Each address comes twice. */
            made_up_six[i] = (struct sockaddr_in6){
                .sin6_family = AF_INET6,
                .sin6_addr.s6_addr = {0x20, 1, 0xd, 0xb8, [15] = (uint8_t)(1 + i)},
            };
            item->ai_addr = (struct sockaddr *)&made_up_six[i];
            item->ai_addrlen = sizeof made_up_six[i];
        } else {
            made_up_four[i - 6] = (struct sockaddr_in){
                .sin_family = AF_INET,
                .sin_addr.s_addr = htonl(0xc0000200U + i),
            };
            item->ai_addr = (struct sockaddr *)&made_up_four[i - 6];
            item->ai_addrlen = sizeof made_up_four[i - 6];
        }
        *end = item;
        end = &item->ai_next;
    }
    return 0;
}

/* The same address twice, the unspecified one and a mapped one. */
static int odd(struct addrinfo **list)
{
    static const struct in6_addr addresses[] = {
        {.s6_addr = {[15] = 0}},
        {.s6_addr = {[10] = 0xff, 0xff, 192, 0, 2, 1}},
        {.s6_addr = {0x20, 1, 0xd, 0xb8, [15] = 9}},
        {.s6_addr = {0x20, 1, 0xd, 0xb8, [15] = 9}},
    };
    struct addrinfo **end = list;
    for (unsigned i = 0; i < 4; i++) {
        made_up_six[i] = (struct sockaddr_in6){
            .sin6_family = AF_INET6, .sin6_port = htons(53), .sin6_addr = addresses[i]};
        made_up[i] = (struct addrinfo){
            .ai_addr = (struct sockaddr *)&made_up_six[i],
            .ai_addrlen = sizeof made_up_six[i],
        };
        *end = &made_up[i];
        end = &made_up[i].ai_next;
    }
    return 0;
}

static int quick(struct addrinfo **list)
{
    static struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(0xc0000201U);
    made_up[0] = (struct addrinfo){
        .ai_addr = (struct sockaddr *)&address,
        .ai_addrlen = sizeof address,
    };
    *list = &made_up[0];
    return 0;
}

static void hang(void)
{
    pthread_mutex_lock(&lock);
    const int number = ++asked;
    sem_post(&hanging);
    while (let_go < number)
        pthread_cond_wait(&more, &lock);
    pthread_mutex_unlock(&lock);
    atomic_fetch_add(&returned, 1);
}

static int count_asked(void)
{
    pthread_mutex_lock(&lock);
    const int n = asked;
    pthread_mutex_unlock(&lock);
    return n;
}

int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                       struct addrinfo **list)
{
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    atomic_store(&signals_blocked, sigismember(&mask, SIGTERM) == 1 &&
                                       sigismember(&mask, SIGINT) == 1 &&
                                       sigismember(&mask, SIGHUP) == 1);
    if (strncmp(host, "hang", 4) == 0) {
        hang();
        return EAI_NONAME;
    }
    if (strcmp(host, "many") == 0)
        return many(hints, list);
    if (strcmp(host, "quick") == 0)
        return quick(list);
    if (strcmp(host, "odd") == 0)
        return odd(list);
    if (strcmp(host, "unknown") == 0)
        return EAI_NONAME;
    return __real_getaddrinfo(host, service, hints, list);
}

void __wrap_freeaddrinfo(struct addrinfo *list)
{
    if (list != &made_up[0])
        __real_freeaddrinfo(list);
}

static struct tw_resolver *start(void)
{
    struct tw_resolver *resolver = tw_resolver_new();
    assert_non_null(resolver);
    return resolver;
}

static bool is_ready(const struct tw_resolver *resolver, int wait_ms)
{
    struct pollfd ready = {.fd = tw_resolver_descriptor(resolver), .events = POLLIN};
    return poll(&ready, 1, wait_ms) == 1;
}

static struct tw_resolver_answer wait_for_answer(struct tw_resolver *resolver)
{
    struct tw_resolver_answer answer;
    assert_true(is_ready(resolver, PATIENCE_MS));
    assert_int_equal(tw_resolver_take(resolver, &answer), 1);
    return answer;
}

static struct tw_resolver_answer ask(struct tw_resolver *resolver, const char *host, int family)
{
    assert_int_equal(tw_resolver_ask(resolver, 7, host, family), 0);
    const struct tw_resolver_answer answer = wait_for_answer(resolver);
    assert_int_equal(answer.tag, 7);
    return answer;
}

static void assert_address(const struct tw_address *address, const char *text)
{
    char written[TW_ADDRESS_TEXT];
    assert_string_equal(tw_address_format(address, false, written), text);
    assert_int_equal(address->port, 0);
}

static void literal_is_its_own_answer(void **state)
{
    (void)state;
    struct tw_resolver *resolver = start();
    static const char *const literals[] = {"192.0.2.1", "2001:db8::1", "fe80::1%lo"};
    for (size_t i = 0; i < 3; i++) {
        const struct tw_resolver_answer answer = ask(resolver, literals[i], 0);
        assert_int_equal(answer.count, 1);
        assert_int_equal(answer.error, 0);
        assert_address(&answer.addresses[0], literals[i]);
    }
    assert_int_equal(ask(resolver, "192.0.2.1", 4).count, 1);
    assert_int_equal(ask(resolver, "2001:db8::1", 6).count, 1);
    tw_resolver_free(resolver);
}

static void literal_of_the_wrong_family_is_no_answer(void **state)
{
    (void)state;
    struct tw_resolver *resolver = start();
    struct tw_resolver_answer answer = ask(resolver, "192.0.2.1", 6);
    assert_int_equal(answer.count, 0);
    assert_int_equal(answer.error, EAI_ADDRFAMILY);
    answer = ask(resolver, "2001:db8::1", 4);
    assert_int_equal(answer.count, 0);
    assert_true(answer.error != 0);
    tw_resolver_free(resolver);
}

static void localhost_is_known_without_a_network(void **state)
{
    (void)state;
    if (access("/etc/hosts", R_OK) != 0) {
        print_message("skipped: this system has no /etc/hosts\n");
        skip();
    }
    struct tw_resolver *resolver = start();
    const struct tw_resolver_answer answer = ask(resolver, "localhost", 4);
    assert_int_equal(answer.error, 0);
    assert_int_equal(answer.count, 1);
    assert_address(&answer.addresses[0], "127.0.0.1");
    tw_resolver_free(resolver);
}

static void signals_are_for_other_threads(void **state)
{
    (void)state;
    struct tw_resolver *resolver = start();
    assert_int_equal(ask(resolver, "quick", 4).count, 1);
    assert_true(atomic_load(&signals_blocked));
    tw_resolver_free(resolver);
}

static void unknown_name_is_an_error(void **state)
{
    (void)state;
    struct tw_resolver *resolver = start();
    const struct tw_resolver_answer answer = ask(resolver, "unknown", 0);
    assert_int_equal(answer.count, 0);
    assert_int_equal(answer.error, EAI_NONAME);
    tw_resolver_free(resolver);
}

static void no_more_addresses_than_fit_but_both_families(void **state)
{
    (void)state;
    struct tw_resolver *resolver = start();
    struct tw_resolver_answer answer = ask(resolver, "many", 0);
    assert_int_equal(answer.count, TW_RESOLVER_ADDRESSES);
    assert_address(&answer.addresses[0], "2001:db8::1");
    assert_address(&answer.addresses[1], "2001:db8::2");
    assert_address(&answer.addresses[2], "2001:db8::3");
    assert_address(&answer.addresses[3], "192.0.2.6");
    answer = ask(resolver, "many", 6);
    assert_int_equal(answer.count, TW_RESOLVER_ADDRESSES);
    assert_address(&answer.addresses[3], "2001:db8::4");
    answer = ask(resolver, "many", 4);
    assert_int_equal(answer.count, 2);
    assert_address(&answer.addresses[1], "192.0.2.7");
    tw_resolver_free(resolver);
}

static void useless_addresses_are_left_out(void **state)
{
    (void)state;
    struct tw_resolver *resolver = start();
    struct tw_resolver_answer answer = ask(resolver, "odd", 0);
    assert_int_equal(answer.count, 2);
    assert_address(&answer.addresses[0], "192.0.2.1");
    assert_address(&answer.addresses[1], "2001:db8::9");
    answer = ask(resolver, "odd", 6);
    assert_int_equal(answer.count, 1);
    assert_address(&answer.addresses[0], "2001:db8::9");
    tw_resolver_free(resolver);
}

static void descriptor_is_ready_until_the_last_answer_is_taken(void **state)
{
    (void)state;
    struct tw_resolver *resolver = start();
    struct tw_resolver_answer answer;
    assert_false(is_ready(resolver, 0));
    assert_int_equal(tw_resolver_take(resolver, &answer), 0);
    bool seen[3] = {false};
    for (uint64_t tag = 0; tag < 3; tag++)
        assert_int_equal(tw_resolver_ask(resolver, tag, "192.0.2.1", 0), 0);
    for (int i = 0; i < 3; i++) {
        answer = wait_for_answer(resolver);
        assert_in_range(answer.tag, 0, 2);
        assert_false(seen[answer.tag]);
        seen[answer.tag] = true;
    }
    assert_false(is_ready(resolver, 0));
    assert_int_equal(tw_resolver_take(resolver, &answer), 0);
    tw_resolver_free(resolver);
}

/* These count exactly: what hangs is let go by the test that made it hang. */
static void wait_until_hanging(unsigned n)
{
    while (n > 0)
        if (sem_wait(&hanging) == 0)
            n--;
}

static void let_next_go(int n)
{
    pthread_mutex_lock(&lock);
    let_go += n;
    pthread_cond_broadcast(&more);
    pthread_mutex_unlock(&lock);
}

static void wait_until_returned(int n)
{
    for (int i = 0; i < PATIENCE_MS && atomic_load(&returned) < n; i++)
        usleep(1000);
    assert_int_equal(atomic_load(&returned), n);
}

static void hanging_name_does_not_hold_up_the_others(void **state)
{
    (void)state;
    struct tw_resolver *resolver = start();
    const int before = atomic_load(&returned);
    assert_int_equal(tw_resolver_ask(resolver, 1, "hang", 0), 0);
    wait_until_hanging(1);
    assert_int_equal(ask(resolver, "quick", 4).count, 1);
    assert_int_equal(ask(resolver, "192.0.2.1", 4).count, 1);
    let_next_go(1);
    const struct tw_resolver_answer answer = wait_for_answer(resolver);
    assert_int_equal(answer.tag, 1);
    assert_int_equal(answer.error, EAI_NONAME);
    tw_resolver_free(resolver);
    wait_until_returned(before + 1);
}

/* Literals need no thread, and the end comes all the same. */
static void ask_hanging(struct tw_resolver *resolver, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        char host[16];
        snprintf(host, sizeof host, "hang%u", i);
        assert_int_equal(tw_resolver_ask(resolver, i, host, 0), 0);
    }
}

/* Of names that hung and now are unknown: each once. */
static void take_hanging(struct tw_resolver *resolver, unsigned n)
{
    bool seen[128] = {false};
    for (unsigned i = 0; i < n; i++) {
        const struct tw_resolver_answer answer = wait_for_answer(resolver);
        assert_int_equal(answer.error, EAI_NONAME);
        assert_in_range(answer.tag, 0, n - 1);
        assert_false(seen[answer.tag]);
        seen[answer.tag] = true;
    }
}

static void fifty_hanging_names_do_not_hold_up_a_good_one(void **state)
{
    (void)state;
    enum { NAMES = 50 };
    struct tw_resolver *resolver = start();
    ask_hanging(resolver, NAMES);
    assert_int_equal(ask(resolver, "quick", 4).count, 1);
    wait_until_hanging(NAMES);
    let_next_go(NAMES);
    take_hanging(resolver, NAMES);
    tw_resolver_free(resolver);
}

/* More than there are threads. Once it is known that they hang, they leave half of the threads to
 * the others, although these are asked for later. */
static void names_that_were_slow_leave_half_of_the_threads(void **state)
{
    (void)state;
    enum { NAMES = 100, THREADS = 64 };
    struct tw_resolver *resolver = start();
    ask_hanging(resolver, NAMES);
    wait_until_hanging(THREADS);
    atomic_fetch_add(&ahead_ns, 10 * TW_NS_PER_S);
    let_next_go(THREADS);
    wait_until_hanging(NAMES - THREADS);
    atomic_fetch_add(&ahead_ns, 10 * TW_NS_PER_S);
    let_next_go(NAMES - THREADS);
    take_hanging(resolver, NAMES);

    const int before = count_asked();
    ask_hanging(resolver, NAMES);
    wait_until_hanging(THREADS / 2);
    for (unsigned i = 0; i < THREADS / 2 - 1; i++) {
        char host[16];
        snprintf(host, sizeof host, "hangs-too%u", i);
        assert_int_equal(tw_resolver_ask(resolver, NAMES + i, host, 0), 0);
    }
    wait_until_hanging(THREADS / 2 - 1);
    assert_int_equal(ask(resolver, "quick", 4).count, 1);
    assert_int_equal(count_asked(), before + THREADS - 1);

    const int all = NAMES + THREADS / 2 - 1;
    let_next_go(all);
    bool seen[NAMES + THREADS] = {false};
    for (int i = 0; i < all; i++) {
        const struct tw_resolver_answer answer = wait_for_answer(resolver);
        assert_in_range(answer.tag, 0, all - 1);
        assert_false(seen[answer.tag]);
        seen[answer.tag] = true;
    }
    wait_until_hanging(NAMES - THREADS / 2);
    tw_resolver_free(resolver);
}

/* A name server that is back: its names are like the others again. */
static void name_that_was_slow_once_is_quick_again(void **state)
{
    (void)state;
    enum { NAMES = 40 };
    struct tw_resolver *resolver = start();
    for (int round = 0; round < 2; round++) {
        ask_hanging(resolver, NAMES);
        wait_until_hanging(round == 0 ? NAMES : 32);
        if (round == 0)
            atomic_fetch_add(&ahead_ns, TW_NS_PER_S);
        let_next_go(NAMES);
        take_hanging(resolver, NAMES);
    }
    wait_until_hanging(NAMES - 32);
    ask_hanging(resolver, NAMES);
    wait_until_hanging(NAMES);
    let_next_go(NAMES);
    take_hanging(resolver, NAMES);
    tw_resolver_free(resolver);
}

/* Classes of one server ask for one name. */
static void name_is_looked_up_once_for_all_who_ask(void **state)
{
    (void)state;
    enum { ASKING = 21 };
    struct tw_resolver *resolver = start();
    const int before = count_asked();
    for (uint64_t tag = 0; tag < ASKING; tag++)
        assert_int_equal(tw_resolver_ask(resolver, tag, "hang", 0), 0);
    assert_int_equal(tw_resolver_ask(resolver, ASKING, "hang", 4), 0); /* another question */
    wait_until_hanging(2);
    assert_int_equal(count_asked(), before + 2);
    let_next_go(2);
    take_hanging(resolver, ASKING + 1);
    assert_false(is_ready(resolver, 0));

    assert_int_equal(tw_resolver_ask(resolver, 0, "hang", 0), 0); /* nothing is remembered */
    assert_int_equal(tw_resolver_ask(resolver, 1, "hang", 0), 0);
    wait_until_hanging(1);
    const int returned_before = atomic_load(&returned);
    tw_resolver_free(resolver); /* with questions that wait for another's answer */
    let_next_go(1);
    wait_until_returned(returned_before + 1);
    usleep(50000);
}

static void hanging_names_delay_the_end_by_less_than_a_second(void **state)
{
    (void)state;
    struct tw_resolver *resolver = start();
    const int before = atomic_load(&returned);
    char host[] = "hang0";
    for (int i = 0; i < 8; i++) {
        host[4] = (char)('0' + i);
        assert_int_equal(tw_resolver_ask(resolver, (uint64_t)i, host, 0), 0);
    }
    assert_int_equal(ask(resolver, "2001:db8::1", 0).count, 1);
    wait_until_hanging(8);
    const int fd = tw_resolver_descriptor(resolver);
    const tw_mono begun = tw_clock_mono();
    tw_resolver_free(resolver);
    assert_true(tw_clock_mono().ns - begun.ns < TW_NS_PER_S);
    /* The threads left behind come back and touch nothing that has gone (a sanitizer would tell),
     * nor a descriptor that may be somebody else's by now. */
    const int reused = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_true(fd != reused || fcntl(reused, F_GETFD) >= 0);
    let_next_go(8);
    wait_until_returned(before + 8);
    usleep(50000);
    close(reused);
}

static void end_is_prompt_when_nothing_hangs(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        struct tw_resolver *resolver = start();
        assert_int_equal(tw_resolver_ask(resolver, 1, "quick", 0), 0);
        assert_int_equal(tw_resolver_ask(resolver, 2, "unknown", 0), 0);
        tw_resolver_free(resolver);
    }
    tw_resolver_free(NULL);
}

int main(void)
{
    sem_init(&hanging, 0, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(literal_is_its_own_answer),
        cmocka_unit_test(literal_of_the_wrong_family_is_no_answer),
        cmocka_unit_test(localhost_is_known_without_a_network),
        cmocka_unit_test(signals_are_for_other_threads),
        cmocka_unit_test(unknown_name_is_an_error),
        cmocka_unit_test(no_more_addresses_than_fit_but_both_families),
        cmocka_unit_test(useless_addresses_are_left_out),
        cmocka_unit_test(descriptor_is_ready_until_the_last_answer_is_taken),
        cmocka_unit_test(hanging_name_does_not_hold_up_the_others),
        cmocka_unit_test(fifty_hanging_names_do_not_hold_up_a_good_one),
        cmocka_unit_test(names_that_were_slow_leave_half_of_the_threads),
        cmocka_unit_test(name_that_was_slow_once_is_quick_again),
        cmocka_unit_test(name_is_looked_up_once_for_all_who_ask),
        cmocka_unit_test(hanging_names_delay_the_end_by_less_than_a_second),
        cmocka_unit_test(end_is_prompt_when_nothing_hangs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
