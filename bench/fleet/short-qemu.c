/*
 * Stands in for QEMU where the speed of drover is measured and not QEMU's: a program that starts as quickly as /bin/true,
 * takes QEMU's command line, speaks QMP, and whose guest powers off as soon as it was asked how it is. As strict as QEMU
 * in what drover relies on: a greeting, nothing before qmp_capabilities, one client for each monitor, a pid file, a bound
 * forwarded port, `-no-shutdown`, SHUTDOWN with its reason, an end by `quit` or SIGTERM only.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define MONITORS 2
#define LINE_MAX_BYTES 65536

struct monitor {
  char path[108];
  int listener, client, negotiated;
  size_t length;
  char line[LINE_MAX_BYTES];
};

static struct monitor monitors[MONITORS];
static int monitor_count, port, has_ended;
static const char *uuid = "", *pid_file;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void leave(void) {
  for (int i = 0; i < monitor_count; i++) unlink(monitors[i].path);
  if (pid_file) unlink(pid_file);
  _exit(0);
}

static void on_signal(int signal) {
  (void)signal;
  leave();
}

static void say(struct monitor *to, const char *text) {
  size_t length = strlen(text);
  if (to->client >= 0 && write(to->client, text, length) != (ssize_t)length) to->client = -1;
}

static void event(const char *name, const char *data) {
  char text[512];
  struct timeval now;
  gettimeofday(&now, NULL);
  snprintf(text, sizeof text, "{\"timestamp\": {\"seconds\": %ld, \"microseconds\": %ld}, \"event\": \"%s\"%s%s}\r\n",
           (long)now.tv_sec, (long)now.tv_usec, name, *data ? ", \"data\": " : "", data);
  for (int i = 0; i < monitor_count; i++) if (monitors[i].negotiated) say(&monitors[i], text);
}

/* The id of a command as it was sent: QMP gives it back. */
static void id_of(const char *line, char *id, size_t size) {
  const char *from = strstr(line, "\"id\":");
  *id = 0;
  if (!from) return;
  from += 5;
  size_t length = strcspn(from, ",}");
  snprintf(id, size, ", \"id\": %.*s", (int)length, from);
}

static int asks(const char *line, const char *command) {
  char wanted[80];
  snprintf(wanted, sizeof wanted, "\"execute\":\"%s\"", command);
  return strstr(line, wanted) != NULL;
}

static void answer(struct monitor *from, const char *line) {
  char id[80], text[1024], value[512];
  id_of(line, id, sizeof id);
  int asked_status = asks(line, "query-status");
  if (asks(line, "qmp_capabilities") && !from->negotiated) {
    from->negotiated = 1;
    snprintf(value, sizeof value, "{}");
  } else if (!from->negotiated) {
    snprintf(text, sizeof text, "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"Expecting capabilities negotiation\"}%s}\r\n", id);
    say(from, text);
    return;
  } else if (asked_status) {
    const char *state = has_ended ? "shutdown" : "running";
    snprintf(value, sizeof value, "{\"status\": \"%s\", \"singlestep\": false, \"running\": %s}", state, has_ended ? "false" : "true");
  } else if (asks(line, "query-uuid")) {
    snprintf(value, sizeof value, "{\"UUID\": \"%s\"}", uuid);
  } else if (asks(line, "human-monitor-command")) {
    snprintf(value, sizeof value, "\"  TCP[HOST_FORWARD]  9               * %5d       10.0.2.15  7002     0     0\\r\\n\"", port);
  } else if (asks(line, "ringbuf-read")) {
    snprintf(value, sizeof value, "\"\"");
  } else if (asks(line, "quit")) {
    snprintf(text, sizeof text, "{\"return\": {}%s}\r\n", id);
    say(from, text);
    event("SHUTDOWN", "{\"guest\": false, \"reason\": \"host-qmp-quit\"}");
    leave();
  } else {
    snprintf(text, sizeof text, "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"The command has not been found\"}%s}\r\n", id);
    say(from, text);
    return;
  }
  snprintf(text, sizeof text, "{\"return\": %s%s}\r\n", value, id);
  say(from, text);
  if (asked_status && !has_ended) {
    has_ended = 1;
    event("SHUTDOWN", "{\"guest\": true, \"reason\": \"guest-shutdown\"}");
    event("STOP", "");
  }
}

static void greet(struct monitor *at) {
  at->client = accept(at->listener, NULL, NULL);
  at->negotiated = 0;
  at->length = 0;
  say(at, "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 0, \"minor\": 2, \"major\": 7}, \"package\": \"stand-in\"}, \"capabilities\": [\"oob\"]}}\r\n");
}

static void hear(struct monitor *at) {
  ssize_t got = read(at->client, at->line + at->length, sizeof at->line - at->length - 1);
  if (got <= 0) {
    close(at->client);
    at->client = -1;
    return;
  }
  at->length += (size_t)got;
  at->line[at->length] = 0;
  char *begin = at->line, *end;
  while ((end = strchr(begin, '\n'))) {
    *end = 0;
    answer(at, begin);
    begin = end + 1;
  }
  at->length = strlen(begin);
  memmove(at->line, begin, at->length + 1);
}

static void open_monitor(const char *options) {
  const char *from = strstr(options, "path=");
  if (!from || monitor_count == MONITORS) return;
  struct monitor *made = &monitors[monitor_count++];
  snprintf(made->path, sizeof made->path, "%.*s", (int)strcspn(from + 5, ","), from + 5);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s", made->path);
  made->client = -1;
  made->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(made->listener, (struct sockaddr *)&address, sizeof address) || listen(made->listener, 1)) fail(made->path);
}

static void forward(const char *options) {
  const char *from = strstr(options, "hostfwd=tcp:");
  if (!from) return;
  const char *colon = strchr(from + 12, ':');
  port = colon ? atoi(colon + 1) : 0;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1)) {
    fprintf(stderr, "qemu-system-x86_64: -netdev user: Could not set up host forwarding rule\n");
    exit(1);
  }
}

int main(int count, char **args) {
  if (count > 1 && !strcmp(args[1], "-version")) return puts("QEMU emulator version 7.2.0 (stand-in)") < 0;
  signal(SIGTERM, on_signal);
  signal(SIGPIPE, SIG_IGN);
  for (int i = 1; i + 1 < count; i++) {
    if (!strcmp(args[i], "-uuid")) uuid = args[++i];
    else if (!strcmp(args[i], "-pidfile")) pid_file = args[++i];
    else if (!strcmp(args[i], "-netdev")) forward(args[++i]);
    else if (!strcmp(args[i], "-chardev") && !strncmp(args[i + 1], "socket", 6)) open_monitor(args[++i]);
  }
  if (pid_file) {
    FILE *file = fopen(pid_file, "w");
    if (!file || fprintf(file, "%d\n", getpid()) < 0 || fclose(file)) fail(pid_file);
  }
  for (;;) {
    struct pollfd polled[MONITORS];
    for (int i = 0; i < monitor_count; i++) {
      struct monitor *at = &monitors[i];
      polled[i] = (struct pollfd){.fd = at->client >= 0 ? at->client : at->listener, .events = POLLIN};
    }
    if (poll(polled, (nfds_t)monitor_count, -1) < 0) continue;
    for (int i = 0; i < monitor_count; i++) {
      if (!polled[i].revents) continue;
      if (monitors[i].client >= 0) hear(&monitors[i]);
      else greet(&monitors[i]);
    }
  }
}
