/* SPDX-License-Identifier: MIT */
/* daemon/config.c: the configuration: defaults, INI file, checks.
 *
 * Guarantees of this file:
 *   - a value that is set has been checked: nobody who reads a struct config checks again;
 *   - a failed config_set() leaves the configuration as it was;
 *   - what is wrong in a file is reported with its name and line;
 *   - what config_print() writes, config_read() reads back to the same configuration.
 */
#include "daemon/config.h"
#include "daemon/log.h"
#include "proto/board.h"

#include <errno.h>
#include <ini.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define SYSTEM_SOCKET "/run/xpurtd/xpurtd.sock"
#define SOCKET_PATH_MAX (sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1)

static const char *const device_names[] = {
    [DEVICE_AUTO] = "auto",
    [DEVICE_GPU] = "gpu",
    [DEVICE_SOFT] = "soft",
};

static const char *const level_names[] = {
    [LOG_ERR] = "error", [LOG_WARNING] = "warning", [LOG_NOTICE] = "notice",
    [LOG_INFO] = "info", [LOG_DEBUG] = "debug",
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- values --------------------------------------------------------------------------------- */

/* The index of @p value in a list of names that may have holes, or -1. */
static int name_index(const char *const *names, size_t count, const char *value)
{
    for (size_t i = 0; i < count; i++)
        if (names[i] && strcmp(names[i], value) == 0)
            return (int)i;
    return -1;
}

static const char *set_device(struct config *config, const char *value)
{
    int index = name_index(device_names, COUNT(device_names), value);

    if (index < 0)
        return "expected auto, gpu or soft";
    config->device = (enum device_choice)index;
    return NULL;
}

static const char *set_log_level(struct config *config, const char *value)
{
    int index = name_index(level_names, COUNT(level_names), value);

    if (index < 0)
        return "expected error, warning, notice, info or debug";
    config->log_level = index;
    return NULL;
}

static const char *set_socket_mode(struct config *config, const char *value)
{
    unsigned long mode;
    char *end;

    mode = strtoul(value, &end, 8);
    if (value[0] < '0' || value[0] > '7' || *end || mode > 0777)
        return "expected an octal mode such as 0660";
    config->socket_mode = (mode_t)mode;
    return NULL;
}

static const char *set_path(char **path, const char *value)
{
    char *copy = strdup(value);

    if (!copy)
        return "out of memory";
    free(*path);
    *path = copy;
    return NULL;
}

static const char *set_socket(struct config *config, const char *value)
{
    size_t length = strlen(value);

    if (length == 0 || length > SOCKET_PATH_MAX)
        return "expected a path of 1 to 107 bytes";
    return set_path(&config->socket, value);
}

static const char *set_soft_driver(struct config *config, const char *value)
{
    if (*value)
        return set_path(&config->soft_driver, value);
    free(config->soft_driver);
    config->soft_driver = NULL;
    return NULL;
}

/* A count or size: decimal digits, maybe K, M, G or T (powers of 1024), or "unlimited". */
static bool parse_amount(const char *value, uint64_t *ret_amount)
{
    static const char suffixes[] = "KMGT";
    unsigned long long amount;
    unsigned shift = 0;
    char *end;

    if (strcmp(value, "unlimited") == 0) {
        *ret_amount = UINT64_MAX;
        return true;
    }
    if (value[0] < '0' || value[0] > '9')
        return false;

    errno = 0;
    amount = strtoull(value, &end, 10);
    if (errno)
        return false;
    if (*end) {
        const char *suffix = strchr(suffixes, *end);

        if (!suffix || end[1])
            return false;
        shift = 10 * (unsigned)(suffix - suffixes + 1);
    }
    if (amount > (UINT64_MAX >> shift))
        return false;

    *ret_amount = (uint64_t)amount << shift;
    return true;
}

/* ---- keys ----------------------------------------------------------------------------------- */

/* clang-format off */
static const struct daemon_key {
    const char *name;
    const char *(*set)(struct config *config, const char *value);
} daemon_keys[] = {
    { "device", set_device },
    { "socket", set_socket },
    { "socket-mode", set_socket_mode },
    { "soft-driver", set_soft_driver },
    { "log-level", set_log_level },
};
/* clang-format on */

static const struct limit_key {
    const char *name;
    size_t offset;
    uint64_t initial;
} limit_keys[] = {
#define X(field, value) { #field, offsetof(struct limits, field), value },
    LIMITS(X)
#undef X
};

static uint64_t *limit_value(const struct limits *limits, const struct limit_key *key)
{
    return (uint64_t *)((char *)limits + key->offset);
}

static char plain(char c)
{
    return c == '_' ? '-' : c;
}

static bool same_name(const char *a, const char *b)
{
    while (*a && plain(*a) == plain(*b))
        a++, b++;
    return *a == *b;
}

static const char *set_limit(struct config *config, const struct limit_key *key, const char *value)
{
    uint64_t amount;

    if (!parse_amount(value, &amount))
        return "expected a number, maybe with K, M, G or T, or unlimited";
    if (key->offset == offsetof(struct limits, sessions) && (!amount || amount > BOARD_SLOTS))
        return "expected 1 to 4096";
    if ((key->offset == offsetof(struct limits, hello_timeout_ms) ||
         key->offset == offsetof(struct limits, build_timeout_ms)) &&
        (!amount || amount > INT_MAX))
        return "expected 1 to 2147483647";
    if (key->offset == offsetof(struct limits, ring_spin_us) && amount > 1000000)
        return "expected 0 to 1000000";
    if (key->offset == offsetof(struct limits, user_builds) && !amount)
        return "expected 1 or more";
    if (key->offset == offsetof(struct limits, module_bytes) && amount > UINT64_C(1) << 30)
        return "expected 0 to 1G";
    if (key->offset == offsetof(struct limits, graph_commands) && amount > UINT64_C(1) << 20)
        return "expected 0 to 1M";

    *limit_value(&config->limits, key) = amount;
    return NULL;
}

const char *config_set(struct config *config, const char *section, const char *key,
                       const char *value)
{
    if (strcmp(section, "daemon") == 0) {
        for (size_t i = 0; i < COUNT(daemon_keys); i++)
            if (same_name(daemon_keys[i].name, key))
                return daemon_keys[i].set(config, value);
        return "unknown key";
    }
    if (strcmp(section, "limits") == 0) {
        for (size_t i = 0; i < COUNT(limit_keys); i++)
            if (same_name(limit_keys[i].name, key))
                return set_limit(config, &limit_keys[i], value);
        return "unknown key";
    }
    return "unknown section";
}

/* ---- files ---------------------------------------------------------------------------------- */

struct reader {
    struct config *config;
    FILE *file;
    const char *path;
    unsigned line;
    bool failed;                        /* reported; the rest of the file is not looked at */
};

/* Gives inih one line at a time. Blanks in front are dropped, or inih takes the line for the
 * continuation of the one before. */
static char *next_line(char *line, int size, void *data)
{
    struct reader *reader = data;
    size_t length;

    if (reader->failed || !fgets(line, size, reader->file))
        return NULL;

    reader->line++;
    length = strlen(line);
    if (length + 1 == (size_t)size && line[length - 1] != '\n') {
        log_error("%s:%u: the line is too long", reader->path, reader->line);
        reader->failed = true;
        return NULL;
    }
    memmove(line, line + strspn(line, " \t"), length - strspn(line, " \t") + 1);
    return line;
}

static int on_key(void *data, const char *section, const char *key, const char *value)
{
    struct reader *reader = data;
    const char *problem;

    problem = config_set(reader->config, section, key, value);
    if (!problem)
        return 1;

    log_error("%s:%u: [%s] %s = %s: %s", reader->path, reader->line, section, key, value, problem);
    reader->failed = true;
    return 0;
}

int config_read(struct config *config, const char *path)
{
    struct reader reader = { .config = config, .path = path };
    int wrong_line, r = 0;

    reader.file = fopen(path, "re");
    if (!reader.file) {
        r = -errno;
        log_error("%s: %s", path, strerror(-r));
        return r;
    }

    wrong_line = ini_parse_stream(next_line, &reader, on_key, &reader);
    if (ferror(reader.file)) {
        log_error("%s: cannot be read", path);
        r = -EIO;
    } else if (reader.failed) {
        r = -EINVAL;
    } else if (wrong_line) {
        log_error("%s:%d: expected [section], name = value, or a comment", path, wrong_line);
        r = -EINVAL;
    }
    fclose(reader.file);
    return r;
}

void config_print(const struct config *config, FILE *file)
{
    fprintf(file, "[daemon]\n");
    fprintf(file, "device = %s\n", device_names[config->device]);
    fprintf(file, "socket = %s\n", config->socket);
    fprintf(file, "socket-mode = %04o\n", (unsigned)config->socket_mode);
    fprintf(file, "soft-driver =%s%s\n", config->soft_driver ? " " : "",
            config->soft_driver ? config->soft_driver : "");
    fprintf(file, "log-level = %s\n", level_names[config->log_level]);

    fprintf(file, "\n[limits]\n");
    for (size_t i = 0; i < COUNT(limit_keys); i++) {
        uint64_t amount = *limit_value(&config->limits, &limit_keys[i]);

        for (const char *c = limit_keys[i].name; *c; c++)
            fputc(plain(*c), file);
        if (amount == UINT64_MAX)
            fprintf(file, " = unlimited\n");
        else
            fprintf(file, " = %" PRIu64 "\n", amount);
    }
}

/* ---- life cycle ----------------------------------------------------------------------------- */

void config_init(struct config *config)
{
    *config = (struct config){
        .device = DEVICE_AUTO,
        .log_level = LOG_INFO,
        .socket_mode = CONFIG_MODE_UNSET,
    };
    for (size_t i = 0; i < COUNT(limit_keys); i++)
        *limit_value(&config->limits, &limit_keys[i]) = limit_keys[i].initial;
}

/* A user's own daemon lives in the user's runtime folder and serves that user. The daemon of the
 * machine lives in /run and serves everybody: who may do what is decided by the peer's uid. */
int config_complete(struct config *config)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");

    if (!config->socket) {
        int n;

        if (geteuid() != 0 && runtime && *runtime)
            n = asprintf(&config->socket, "%s/xpurtd.sock", runtime);
        else
            n = asprintf(&config->socket, "%s", SYSTEM_SOCKET);
        if (n < 0) {
            config->socket = NULL;
            return -ENOMEM;
        }
        if ((size_t)n > SOCKET_PATH_MAX) {
            log_error("%s: the path is too long for a socket", config->socket);
            return -ENAMETOOLONG;
        }
    }
    if (config->socket_mode == CONFIG_MODE_UNSET) {
        bool for_all = geteuid() == 0 || strcmp(config->socket, SYSTEM_SOCKET) == 0;

        config->socket_mode = for_all ? 0666 : 0600;
    }
    return 0;
}

void config_deinit(struct config *config)
{
    free(config->socket);
    free(config->soft_driver);
    config->socket = NULL;
    config->soft_driver = NULL;
}
