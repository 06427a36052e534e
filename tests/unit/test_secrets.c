/* lib/sys/secrets.h: files as people write them, and what must be refused without a word of what
 * stands in them. */
#include "twamp-config.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/sys/secrets.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof(a)[0])

#define EIGHTY     "12345678901234567890123456789012345678901234567890123456789012345678901234567890"
#define EIGHTY_ONE EIGHTY "1"

static char directory[64];
static char path[80];

static int make_directory(void **state)
{
    (void)state;
    strcpy(directory, "/tmp/twamp-secrets-XXXXXX");
    if (mkdtemp(directory) == NULL)
        return -1;
    (void)snprintf(path, sizeof path, "%s/file", directory);
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(directory);
}

static void write_file(const char *octets, size_t n, mode_t mode)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(octets, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static int load(struct tw_secrets *secrets, const char *text, char why[TW_SECRETS_WHY])
{
    write_file(text, strlen(text), 0640);
    return tw_secrets_load(secrets, path, why);
}

static const struct tw_secret *find(const struct tw_secrets *secrets, const char *text)
{
    uint8_t keyid[TW_KEYID_SIZE];
    assert_true(tw_secrets_keyid(text, keyid));
    return tw_secrets_find(secrets, keyid);
}

static void expect_secret(const struct tw_secrets *secrets, const char *keyid, const char *text)
{
    const struct tw_secret *secret = find(secrets, keyid);
    assert_non_null(secret);
    assert_int_equal(secret->size, strlen(text));
    assert_memory_equal(secret->passphrase, text, secret->size);
}

static void a_file_gives_a_secret_for_each_keyid(void **state)
{
    (void)state;
    struct tw_secrets secrets;
    char why[TW_SECRETS_WHY];
    assert_int_equal(load(&secrets,
                          "# who may measure\n"
                          "\n"
                          "noc twamp-kat-secret\n"
                          "  \t \n"
                          "\tlab \t correct horse  battery \t\n"
                          "m\xc3\xbcnchen #not a comment\n" EIGHTY " x",
                          why),
                     0);
    assert_int_equal(secrets.count, 4);
    expect_secret(&secrets, "noc", "twamp-kat-secret");
    expect_secret(&secrets, "lab", "correct horse  battery");
    expect_secret(&secrets, "m\xc3\xbcnchen", "#not a comment");
    expect_secret(&secrets, EIGHTY, "x");
    assert_null(find(&secrets, "no"));
    assert_null(find(&secrets, "nocs"));
    tw_secrets_free(&secrets);
    assert_int_equal(secrets.count, 0);
}

static void line_ends_of_other_systems_are_no_part_of_the_secret(void **state)
{
    (void)state;
    struct tw_secrets secrets;
    char why[TW_SECRETS_WHY];
    assert_int_equal(load(&secrets, "\xef\xbb\xbfnoc one\r\n\r\nlab two \r\nlast three\r", why), 0);
    assert_int_equal(secrets.count, 3);
    expect_secret(&secrets, "noc", "one");
    expect_secret(&secrets, "lab", "two");
    expect_secret(&secrets, "last", "three");
    tw_secrets_free(&secrets);
}

static void a_file_without_secrets_is_no_error(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "\n", "# nothing yet"};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct tw_secrets secrets;
        char why[TW_SECRETS_WHY];
        assert_int_equal(load(&secrets, texts[i], why), 0);
        assert_int_equal(secrets.count, 0);
        assert_string_equal(why, "");
        tw_secrets_free(&secrets);
    }
}

/* RFC 5357 section 3.1 for the secret, RFC 4656 section 3.1 for the KeyID. What a message may say
 * ends with the number of the line: not a word of the file is in it. */
static void a_line_that_makes_no_sense_is_refused_with_its_number(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned line;
    } cases[] = {
        {"hunter2\n", 1},
        {"noc one\nhunter2 \t\n", 2},
        {"\n# x\nnoc hunter2\x01\n", 3},
        {"noc hunter2\thunter2\n", 1},
        {"noc hunter2\x7f", 1},
        {"noc hunter2\xc3\xbc", 1},
        {"noc hunter2\rhunter2", 1},
        {EIGHTY_ONE " hunter2", 1},
        {"\xc3 hunter2", 1},
        {"\xff hunter2", 1},
        {"\xc0\xaf hunter2", 1},
        {"\xed\xa0\x80 hunter2", 1},
        {"\xf4\x90\x80\x80 hunter2", 1},
        {"\xe0\x9f\xbf hunter2", 1},
        {"\x01 hunter2", 1},
        {"noc one\nlab two\nnoc hunter2\n", 3},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct tw_secrets secrets;
        char why[TW_SECRETS_WHY];
        assert_int_equal(load(&secrets, cases[i].text, why), -EINVAL);
        assert_int_equal(secrets.count, 0);
        char begin[100];
        (void)snprintf(begin, sizeof begin, "%s:%u: ", path, cases[i].line);
        assert_memory_equal(why, begin, strlen(begin));
        assert_true(strlen(why) > strlen(begin) + 10);
        assert_null(strstr(why, "hunter"));
        assert_null(strstr(why, "noc"));
    }
}

static void a_second_line_for_a_keyid_names_the_first(void **state)
{
    (void)state;
    struct tw_secrets secrets;
    char why[TW_SECRETS_WHY], want[TW_SECRETS_WHY];
    assert_int_equal(load(&secrets, "\nnoc one\nlab two\nnoc three\n", why), -EINVAL);
    (void)snprintf(want, sizeof want,
                   "%.80s:4: the KeyID is given a second time, after line 2; remove one of them",
                   path);
    assert_string_equal(why, want);
}

static void an_octet_zero_is_no_text(void **state)
{
    (void)state;
    struct tw_secrets secrets;
    char why[TW_SECRETS_WHY];
    write_file("noc se\0cret\n", 12, 0600);
    assert_int_equal(tw_secrets_load(&secrets, path, why), -EINVAL);
    write_file("n\0c secret\n", 11, 0600);
    assert_int_equal(tw_secrets_load(&secrets, path, why), -EINVAL);
}

static void the_longest_secret_is_taken_and_one_more_refused(void **state)
{
    (void)state;
    char text[8 + TW_SECRETS_PASSPHRASE_MAX + 1] = "noc ";
    struct tw_secrets secrets;
    char why[TW_SECRETS_WHY];
    memset(text + 4, 'x', TW_SECRETS_PASSPHRASE_MAX);
    assert_int_equal(load(&secrets, text, why), 0);
    assert_int_equal(find(&secrets, "noc")->size, TW_SECRETS_PASSPHRASE_MAX);
    tw_secrets_free(&secrets);
    text[4 + TW_SECRETS_PASSPHRASE_MAX] = 'x';
    assert_int_equal(load(&secrets, text, why), -EINVAL);
}

static void a_file_open_to_others_is_refused(void **state)
{
    (void)state;
    static const struct {
        mode_t mode;
        int result;
    } cases[] = {{0600, 0},       {0640, 0},       {0660, 0},       {0400, 0},      {0601, 0},
                 {0644, -EACCES}, {0604, -EACCES}, {0642, -EACCES}, {0666, -EACCES}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct tw_secrets secrets;
        char why[TW_SECRETS_WHY];
        write_file("noc secret\n", 11, cases[i].mode);
        assert_int_equal(tw_secrets_load(&secrets, path, why), cases[i].result);
        assert_int_equal(secrets.count, cases[i].result == 0 ? 1 : 0);
        if (cases[i].result != 0)
            assert_non_null(strstr(why, "chmod o-rwx"));
        tw_secrets_free(&secrets);
    }
}

static void what_is_no_file_is_refused_at_once(void **state)
{
    (void)state;
    struct tw_secrets secrets;
    char why[TW_SECRETS_WHY];
    (void)unlink(path);
    assert_int_equal(tw_secrets_load(&secrets, path, why), -ENOENT);
    assert_non_null(strstr(why, "No such file"));
    assert_int_equal(tw_secrets_load(&secrets, directory, why), -EINVAL);
    assert_int_equal(mkfifo(path, 0600), 0);
    (void)alarm(10); /* instead of waiting for a writer */
    assert_int_equal(tw_secrets_load(&secrets, path, why), -EINVAL);
    (void)alarm(0);
    assert_non_null(strstr(why, "not a regular file"));
    assert_int_equal(unlink(path), 0);
}

static void a_path_of_any_length_leaves_room_for_the_reason(void **state)
{
    (void)state;
    char name[2001];
    memset(name, 'x', 2000);
    name[2000] = '\0';
    struct tw_secrets secrets;
    char why[TW_SECRETS_WHY];
    assert_int_equal(tw_secrets_load(&secrets, name, why), -ENAMETOOLONG);
    assert_non_null(strstr(why, "too long"));
}

static void a_keyid_has_a_wire_form_or_is_none(void **state)
{
    (void)state;
    static const char too_long[] = EIGHTY_ONE;
    const char *const bad[] = {"", " ", "a b", "a\tb", "a\n", too_long, "\x80", "a\x7f"};
    uint8_t keyid[TW_KEYID_SIZE];
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_false(tw_secrets_keyid(bad[i], keyid));
    memset(keyid, 0xff, sizeof keyid);
    assert_true(tw_secrets_keyid("noc", keyid));
    uint8_t want[TW_KEYID_SIZE] = {'n', 'o', 'c'};
    assert_memory_equal(keyid, want, sizeof want);
    assert_true(tw_secrets_keyid(EIGHTY, keyid));
    assert_memory_equal(keyid, EIGHTY, TW_KEYID_SIZE);
    /* U+10FFFF, the last there is */
    assert_true(tw_secrets_keyid("\xf4\x8f\xbf\xbf", keyid));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_gives_a_secret_for_each_keyid),
        cmocka_unit_test(line_ends_of_other_systems_are_no_part_of_the_secret),
        cmocka_unit_test(a_file_without_secrets_is_no_error),
        cmocka_unit_test(a_line_that_makes_no_sense_is_refused_with_its_number),
        cmocka_unit_test(a_second_line_for_a_keyid_names_the_first),
        cmocka_unit_test(an_octet_zero_is_no_text),
        cmocka_unit_test(the_longest_secret_is_taken_and_one_more_refused),
        cmocka_unit_test(a_file_open_to_others_is_refused),
        cmocka_unit_test(what_is_no_file_is_refused_at_once),
        cmocka_unit_test(a_path_of_any_length_leaves_room_for_the_reason),
        cmocka_unit_test(a_keyid_has_a_wire_form_or_is_none),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
