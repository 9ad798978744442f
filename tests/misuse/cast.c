/* SPDX-License-Identifier: MIT */
/* tests/misuse/cast.c: see cast.h.
 *
 * Guarantees of this file: what was destroyed or is of before a reset keeps its place for as long as
 * it is tried, so nobody else is met there.
 */
#include "tests/misuse/cast.h"

#include "tests/support/peer.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define MEMORY 4000                     /* no multiple of 512: nobody's bytes follow at once */

#define BYTES 16                        /* the number of each "n" and "z" that is right */
#define WRONG_HANDLES 4

/* The last page of user space, where no process has anything; sanitizers have much elsewhere. */
#define NOWHERE 0x7ffffffff000

unsigned char cast_out[ARGUMENTS_MAX][OUT_SIZE];

static struct {
    /* Right. */
    xpurt_event *event;
    xpurt_stream *stream, *captured, *list[BYTES];
    xpurt_graph *graph;
    xpurt_generator *generator;
    xpurt_event_handle event_handle;
    xpurt_mem_handle mem_handle;
    unsigned char *memory, *pinned, *opened;
    xpurt_module *module;
    xpurt_kernel *kernel;
    xpurt_arg argument, wrong_argument;
    unsigned char code[65536];
    size_t code_size;
    uint64_t stream_id;
    unsigned char state[BYTES];

    /* Not any more. */
    xpurt_event *freed_event, *stale_event;
    xpurt_stream *freed_stream, *stale_stream, *bad_list[BYTES];
    xpurt_graph *freed_graph, *stale_graph;
    xpurt_generator *freed_generator;
    xpurt_module *freed_module, *stale_module;
    xpurt_kernel *freed_kernel, *stale_kernel;
    unsigned char *freed_memory, *freed_pinned;
    uint64_t freed_id;
    struct foreign foreign;

    /* Memory for arguments. */
    xpurt_event *holder, *freed_holder, *stale_holder, *wild_holder;
    xpurt_event_handle wrong_handles[WRONG_HANDLES];
    unsigned char guard[1024];
} cast;

static void objects_make(xpurt_event **ret_event, xpurt_stream **ret_stream)
{
    test_ok(xpurt_event_create(XPURT_EVENT_INTERPROCESS | XPURT_EVENT_TIMING, ret_event));
    test_ok(xpurt_stream_create(ret_stream));
    test_ok(xpurt_event_record(*ret_event, *ret_stream));
    test_ok(xpurt_stream_synchronize(*ret_stream));
}

static void graph_make(xpurt_stream *stream, xpurt_graph **ret_graph)
{
    test_ok(xpurt_graph_begin(stream));
    test_ok(xpurt_graph_end(stream, ret_graph));
}

/* Null where kernels cannot be built or run. */
static void module_make(xpurt_module **ret_module, xpurt_kernel **ret_kernel)
{
#ifdef KERNELS_SPV
    FILE *file = fopen(KERNELS_SPV, "re");
    xpurt_result r;

    test_require(file, KERNELS_SPV);
    cast.code_size = fread(cast.code, 1, sizeof(cast.code), file);
    fclose(file);
    r = xpurt_module_load(0, cast.code, cast.code_size, NULL, ret_module);
    if (r == XPURT_ERROR_UNSUPPORTED)
        return;
    test_ok(r);
    test_ok(xpurt_kernel_get(*ret_module, "increment", ret_kernel));
#else
    *ret_module = NULL;
    *ret_kernel = NULL;
#endif
}

bool cast_has(char kind)
{
    return cast.module || !strchr("IJKBNR", kind);
}

/* Made last, destroyed, and their places not taken by anybody since. */
static void objects_free(void)
{
    objects_make(&cast.freed_event, &cast.freed_stream);
    test_ok(xpurt_stream_get_id(cast.freed_stream, &cast.freed_id));
    test_ok(xpurt_generator_create(0, &cast.freed_generator));
    test_ok(xpurt_malloc((void **)&cast.freed_memory, 1 << 22));
    test_ok(xpurt_host_malloc((void **)&cast.freed_pinned, 1 << 22));
    module_make(&cast.freed_module, &cast.freed_kernel);
    graph_make(cast.freed_stream, &cast.freed_graph);
    test_ok(xpurt_graph_destroy(cast.freed_graph));
    test_ok(xpurt_module_unload(cast.freed_module));
    test_ok(xpurt_event_destroy(cast.freed_event));
    test_ok(xpurt_stream_destroy(cast.freed_stream));
    test_ok(xpurt_generator_destroy(cast.freed_generator));
    test_ok(xpurt_free(cast.freed_memory));
    test_ok(xpurt_host_free(cast.freed_pinned));
}

static void handles_make(void)
{
    xpurt_mem_handle handle;
    void *memory;

    test_ok(xpurt_event_get_ipc_handle(cast.event, &cast.event_handle));
    test_ok(xpurt_malloc(&memory, 4096));
    test_ok(xpurt_mem_get_ipc_handle(memory, &cast.mem_handle));

    /* Open something whose allocation is not ours any more. */
    test_ok(xpurt_malloc((void **)&cast.opened, 4096));
    test_ok(xpurt_mem_get_ipc_handle(cast.opened, &handle));
    test_ok(xpurt_mem_open_ipc_handle(&handle, (void **)&cast.opened));
    test_ok(xpurt_free(cast.opened));

    for (unsigned i = 0; i < sizeof(cast.wrong_handles); i++)
        ((unsigned char *)cast.wrong_handles)[i] = (unsigned char)(i * 37 + 11);
    memset(&cast.wrong_handles[0], 0, sizeof(cast.wrong_handles[0]));
    memset(&cast.wrong_handles[1], 0xff, sizeof(cast.wrong_handles[1]));
    cast.wrong_handles[3] = cast.event_handle;
    cast.wrong_handles[3].bytes[40] ^= 1;
}

void cast_end(void)
{
    (void)xpurt_module_unload(cast.module); /* a call may have done it */
    (void)xpurt_module_unload(cast.stale_module);
    (void)xpurt_graph_destroy(cast.graph);
    (void)xpurt_graph_destroy(cast.stale_graph);
    cast.graph = cast.stale_graph = NULL;
    cast.module = cast.stale_module = NULL;
}

/* A new session, and something stale of the last one. */
void cast_make(const struct foreign *foreign)
{
    cast_end();
    objects_make(&cast.stale_event, &cast.stale_stream);
    module_make(&cast.stale_module, &cast.stale_kernel);
    graph_make(cast.stale_stream, &cast.stale_graph);
    test_ok(xpurt_reset());
    cast.foreign = *foreign;
    objects_make(&cast.event, &cast.stream);
    test_ok(xpurt_stream_get_id(cast.stream, &cast.stream_id));
    if (!cast.generator || xpurt_generator_set_offset(cast.generator, 0))
        test_ok(xpurt_generator_create(0, &cast.generator));
    test_ok(xpurt_generator_get_state(cast.generator, cast.state));
    test_ok(xpurt_malloc((void **)&cast.memory, MEMORY));
    test_ok(xpurt_host_malloc((void **)&cast.pinned, 4096));
    module_make(&cast.module, &cast.kernel);
    test_ok(xpurt_stream_create(&cast.captured));
    graph_make(cast.captured, &cast.graph);
    test_ok(xpurt_graph_begin(cast.captured));
    handles_make();
    objects_free();
    for (unsigned i = 0; i < BYTES; i++) {
        cast.list[i] = cast.stream;
        cast.bad_list[i] = i == BYTES - 1 ? cast.freed_stream : cast.stream;
    }
    cast.argument = xpurt_arg_pointer(cast.memory);
    cast.wrong_argument = xpurt_arg_pointer(cast.freed_memory);
    cast.holder = cast.event;
    cast.freed_holder = cast.freed_event;
    cast.stale_holder = cast.stale_event;
    cast.wild_holder = (xpurt_event *)(void *)cast_out;
    memset(cast_out, OUT_BYTE, sizeof(cast_out));
    memset(cast.guard, 0, sizeof(cast.guard));
}

static const uint32_t one_item[3] = { 1, 1, 1 };

static void be_called(void *data)
{
    (void)data;
}

/* clang-format off */
uintptr_t cast_right(char kind, int i)
{
    switch (kind) {
    case 'e': case 'x':                     return (uintptr_t)cast.event;
    case 'v': case 'w':                     return (uintptr_t)&cast.holder;
    case 's': case 'S': case 'y':           return (uintptr_t)cast.stream;
    case 'T':                               return (uintptr_t)cast.captured;
    case 'Q': case 'X':                     return (uintptr_t)cast.graph;
    case 'l':                               return (uintptr_t)cast.list;
    case 'g': case 'G':                     return (uintptr_t)cast.generator;
    case 'o': case 'O':                     return (uintptr_t)cast_out[i];
    case 'h':                               return (uintptr_t)&cast.event_handle;
    case 'm':                               return (uintptr_t)&cast.mem_handle;
    case 'i': case 'p':                     return (uintptr_t)cast.state;
    case 'I': case 'J':                     return (uintptr_t)cast.module;
    case 'K':                               return (uintptr_t)cast.kernel;
    case 'B':                               return (uintptr_t)cast.code;
    case 'L':                               return cast.code_size;
    case 'N':                               return (uintptr_t)"increment";
    case 'U':                               return (uintptr_t)one_item;
    case 'P':                               return 4 * BYTES;
    case 'R':                               return (uintptr_t)&cast.argument;
    case '1':                               return 1;
    case 'r': case '0':                     return 0;
    case 'j':                               return (uintptr_t)be_called;
    case 'd': case 'D': case 'f': case 'q': return 0;
    case 'M': case 'a': case 'A': case 't': return (uintptr_t)cast.memory;
    case 'H': case 'b':                     return (uintptr_t)cast.pinned;
    case 'C':                               return (uintptr_t)cast.opened;
    case 'z': case 'n':                     return BYTES;
    case 'u':                               return (uintptr_t)cast.guard;
    case 'k':                               return cast.stream_id;
    }
    test_require(false, "functions.h has an unknown letter '%c'", kind);
    return 0;
}
/* clang-format on */

/* ---- wrong ------------------------------------------------------------------------------------- */

static void add(struct wrongs *wrongs, uintptr_t value, const char *what)
{
    test_require(wrongs->count < WRONG_MAX, "too many");
    wrongs->list[wrongs->count].value = value;
    wrongs->list[wrongs->count++].what = what;
}

#define ADD(value, what) add(wrongs, (uintptr_t)(value), what)

/* Pointers that are neither an object nor memory of xpurt. */
static void add_strange_pointers(struct wrongs *wrongs)
{
    static int somewhere;

    ADD(1, "the address 1");
    ADD(UINTPTR_MAX - 63, "the end of all addresses");
    ADD(NOWHERE, "a random pointer");
    ADD(&wrongs, "a pointer to the stack");
    ADD(&somewhere, "a pointer to a variable");
    ADD(add_strange_pointers, "a pointer to a function");
}

/* Objects @p own and what lies around it. */
static void add_around(struct wrongs *wrongs, void *own)
{
    ADD((char *)own + 1, "one byte into the right one");
    ADD((char *)own + 8, "a pointer into the right one");
    ADD((char *)own + 64 * 60000, "one that was never made");
    ADD((char *)own - 64 * 100000, "a pointer before all of them");
}

static bool is(char kind, const char *kinds)
{
    return strchr(kinds, kind);
}

static void wrong_event(char kind, struct wrongs *wrongs)
{
    if (kind == 'e' || kind == 'x') {
        add_around(wrongs, cast.event);
        ADD(cast.freed_event, "a destroyed event");
        ADD(cast.foreign.event, "an event of another process");
    } else {
        ADD(&cast.freed_holder, "a place with a destroyed event");
        ADD(&cast.stale_holder, "a place with an event of before a reset");
        ADD(&cast.wild_holder, "a place with a random pointer");
    }
    if (kind == 'e')
        ADD(cast.stale_event, "an event of before a reset");
}

static void wrong_stream(char kind, struct wrongs *wrongs)
{
    if (kind == 'l') {
        ADD(cast.bad_list, "a list with a destroyed stream");
        return;
    }
    add_around(wrongs, cast.stream);
    ADD(cast.freed_stream, "a destroyed stream");
    ADD(cast.foreign.stream, "a stream of another process");
    if (kind != 'y')
        ADD(cast.stale_stream, "a stream of before a reset");
}

static void wrong_graph(char kind, struct wrongs *wrongs)
{
    add_around(wrongs, cast.graph);
    ADD(cast.freed_graph, "a destroyed graph");
    if (kind == 'Q')
        ADD(cast.stale_graph, "a graph of before a reset");
}

static void wrong_generator(struct wrongs *wrongs)
{
    add_around(wrongs, cast.generator);
    ADD(cast.freed_generator, "a destroyed generator");
    ADD(cast.foreign.generator, "a generator of another process");
}

static void wrong_module(char kind, struct wrongs *wrongs)
{
    if (kind == 'K') {
        ADD(cast.module, "a module");
        ADD(cast.freed_kernel, "a kernel of an unloaded module");
        ADD(cast.stale_kernel, "a kernel of before a reset");
        return;
    }
    ADD(cast.kernel, "a kernel");
    if (kind == 'I' || cast.freed_module)
        ADD(cast.freed_module, "an unloaded module");
    if (kind == 'I')
        ADD(cast.stale_module, "a module of before a reset");
}

static void wrong_handle(char kind, struct wrongs *wrongs)
{
    if (kind == 'h')
        ADD(&cast.mem_handle, "the handle of memory");
    else
        ADD(&cast.event_handle, "the handle of an event");
    for (unsigned i = 0; i < WRONG_HANDLES; i++)
        ADD(&cast.wrong_handles[i], "bytes that are no handle");
}

static void wrong_memory(char kind, struct wrongs *wrongs)
{
    ADD(cast.freed_memory, "freed device memory");
    ADD(cast.freed_pinned, "freed pinned memory");
    ADD(cast.foreign.memory, "memory of another process");
    if (kind == 'M')
        ADD(cast.pinned, "pinned memory");
    if (is(kind, "Hb"))
        ADD(cast.memory, "device memory");
    if (kind == 'C')
        ADD(cast.memory, "memory that was not opened");
    if (kind == 'a')
        ADD(cast.memory + MEMORY, "the end of device memory");
}

/* Copies and fills take BYTES from there. */
static void wrong_target(struct wrongs *wrongs)
{
    ADD(cast.memory + MEMORY - BYTES / 2, "the end of device memory");
    ADD(cast.memory - BYTES / 2, "what lies before device memory");
    ADD(cast.pinned + 4096 - BYTES / 2, "the end of pinned memory");
    ADD(NOWHERE, "a random pointer");
    ADD(UINTPTR_MAX - 7, "the end of all addresses");
}

static void wrong_device(char kind, struct wrongs *wrongs)
{
    ADD(xpurt_device_count(), "one device more than there are");
    ADD(XPURT_DEVICES_MAX, "a device that nobody has");
    ADD(INT_MAX, "the largest number");
    if (kind == 'd') {
        ADD(-1, "minus one");
        ADD(INT_MIN, "the least number");
    }
}

static void wrong_number(char kind, struct wrongs *wrongs)
{
    if (kind == 'f')
        for (unsigned bit = 3; bit < 32; bit++)
            ADD(1u << bit | XPURT_EVENT_TIMING, "an unknown flag");
    if (kind == 'q') {
        ADD(3, "one mode more than there are");
        ADD(UINT_MAX, "the largest mode");
    }
    if (is(kind, "zP")) {
        ADD(SIZE_MAX, "the largest size");
        ADD(SIZE_MAX - 4095, "nearly the largest size");
        ADD(SIZE_MAX / 2 + 1, "half of all sizes");
        ADD((size_t)1 << 50, "a petabyte");
    }
    if (kind == 'k') {
        ADD(cast.freed_id, "the id of a destroyed stream");
        ADD(cast.stream_id ^ UINT64_C(1) << 40, "an id that was never given");
        ADD(UINT64_MAX, "the largest id");
    }
}

void cast_wrong(char kind, struct wrongs *wrongs)
{
    wrongs->count = 0;
    if (is(kind, "evsTlgohimtuabjIKBNURQ"))
        ADD(NULL, "null");
    if (is(kind, "exsSyTgGMHCaAbIJKQX"))
        add_strange_pointers(wrongs);
    if (is(kind, "exsSyTgGMHCbIJKQX"))
        ADD(cast.memory + 64, "a pointer into device memory");
    if (is(kind, "exsSyTgGMCaIJKQX"))
        ADD(cast.pinned + 64, "a pointer into pinned memory");
    if (is(kind, "sSyTgGMHCabIJKQX"))
        ADD(cast.event, "an event");
    if (is(kind, "exgGMHCabIJKQX"))
        ADD(cast.stream, "a stream");
    if (is(kind, "exsSyTMHCabIJKQX"))
        ADD(cast.generator, "a generator");
    if (is(kind, "exvw"))
        wrong_event(kind, wrongs);
    if (is(kind, "sSyTl"))
        wrong_stream(kind, wrongs);
    if (is(kind, "QX"))
        wrong_graph(kind, wrongs);
    if (is(kind, "gG"))
        wrong_generator(wrongs);
    if (is(kind, "IJK"))
        wrong_module(kind, wrongs);
    if (kind == 'R')
        ADD(&cast.wrong_argument, "one with freed memory");
    if (kind == 'N')
        ADD("no such kernel", "the name of no kernel");
    if (is(kind, "hm"))
        wrong_handle(kind, wrongs);
    if (is(kind, "MHCaAbt"))
        wrong_memory(kind, wrongs);
    if (kind == 't')
        wrong_target(wrongs);
    if (is(kind, "dD"))
        wrong_device(kind, wrongs);
    wrong_number(kind, wrongs);
}

const char *cast_word(char kind, uintptr_t wrong)
{
    static char text[32];

    if (is(kind, "exvw"))
        return "event";
    if (is(kind, "sSyTlk"))
        return "stream";
    if (is(kind, "QX"))
        return "graph";
    if (is(kind, "gG"))
        return "generator";
    if (is(kind, "IJ"))
        return "module";
    if (is(kind, "KN"))
        return "kernel";
    if (kind == 'B')
        return "SPIR-V";
    if (kind == 'U')
        return "size";
    if (kind == 'R')
        return "argument";
    if (is(kind, "hm"))
        return "handle";
    if (kind == 'o')
        return "nowhere";
    if (kind == 'i')
        return "state";
    if (kind == 'j')
        return "function";
    if (kind == 'f')
        return "flags";
    if (kind == 'q')
        return "there is no";
    if (kind == 'u')
        return "guard";
    text[0] = '\0';
    if (is(kind, "dD"))
        snprintf(text, sizeof(text), "device %d", (int)wrong);
    if (is(kind, "MHCaAbt") && wrong)
        snprintf(text, sizeof(text), "%p", (void *)wrong);
    return text;
}
