/* lib/sys/heap.h against a linear search for the smallest of the same numbers. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "lib/sys/heap.h"

enum { ITEMS = 200 };

static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

static const struct tw_heap_item *smallest(const struct tw_heap_item *items, size_t n)
{
    const struct tw_heap_item *best = NULL;
    for (size_t i = 0; i < n; i++)
        if (items[i].place != 0 && (best == NULL || items[i].at.ns < best->at.ns))
            best = &items[i];
    return best;
}

static void first_is_always_the_earliest(void **state)
{
    (void)state;
    struct tw_heap heap;
    tw_heap_init(&heap);
    assert_null(tw_heap_first(&heap));
    assert_int_equal(tw_heap_reserve(&heap, ITEMS), 0);
    static struct tw_heap_item items[ITEMS];
    uint64_t random = 4711;
    for (int i = 0; i < 20000; i++) {
        struct tw_heap_item *item = &items[next_random(&random) % ITEMS];
        if (next_random(&random) % 3 == 0)
            tw_heap_remove(&heap, item);
        else if (next_random(&random) % 16 == 0)
            tw_heap_set(&heap, item, TW_NEVER);
        else /* few values, so that many are equal */
            tw_heap_set(&heap, item, (tw_mono){(int64_t)(next_random(&random) % 64)});
        const struct tw_heap_item *expected = smallest(items, ITEMS);
        const struct tw_heap_item *first = tw_heap_first(&heap);
        assert_true((first == NULL) == (expected == NULL));
        if (first != NULL && expected != NULL)
            assert_int_equal(first->at.ns, expected->at.ns);
    }
    tw_heap_free(&heap);
}

static void items_come_out_in_order(void **state)
{
    (void)state;
    struct tw_heap heap;
    tw_heap_init(&heap);
    struct tw_heap_item items[ITEMS] = {{.place = 0}};
    uint64_t random = 1;
    for (size_t i = 0; i < ITEMS; i++) {
        assert_int_equal(tw_heap_reserve(&heap, i + 1), 0);
        tw_heap_set(&heap, &items[i], (tw_mono){(int64_t)next_random(&random)});
    }
    int64_t last = INT64_MIN;
    for (size_t i = 0; i < ITEMS; i++) {
        struct tw_heap_item *first = tw_heap_first(&heap);
        assert_non_null(first);
        assert_true(first->at.ns >= last);
        last = first->at.ns;
        tw_heap_remove(&heap, first);
    }
    assert_null(tw_heap_first(&heap));
    tw_heap_free(&heap);
}

static void item_that_is_not_there_may_be_removed(void **state)
{
    (void)state;
    struct tw_heap heap;
    tw_heap_init(&heap);
    struct tw_heap_item item = {.place = 0};
    tw_heap_remove(&heap, &item);
    assert_int_equal(tw_heap_reserve(&heap, 1), 0);
    tw_heap_set(&heap, &item, (tw_mono){5});
    tw_heap_remove(&heap, &item);
    tw_heap_remove(&heap, &item);
    assert_null(tw_heap_first(&heap));
    tw_heap_free(&heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_is_always_the_earliest),
        cmocka_unit_test(items_come_out_in_order),
        cmocka_unit_test(item_that_is_not_there_may_be_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
