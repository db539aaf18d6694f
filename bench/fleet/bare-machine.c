/*
 * Becomes the real QEMU with a machine that has nothing in it (`-machine none -S`), so that a thousand of them fit on one
 * computer: of the command line it keeps what such a machine takes, which is all that drover talks to.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define QEMU "qemu-system-x86_64"

static const char *const KEPT[] = {"-uuid", "-name", "-pidfile", "-chardev", "-mon", "-netdev", "-sandbox"};

int main(int count, char **args) {
  char *line[count + 8];
  int length = 0;
  line[length++] = QEMU;
  if (count > 1 && !strcmp(args[1], "-version")) {
    line[length++] = "-version";
  } else {
    char *const machine[] = {"-machine", "none", "-S", "-nodefaults", "-display", "none", "-no-shutdown"};
    memcpy(line + length, machine, sizeof machine);
    length += (int)(sizeof machine / sizeof *machine);
    for (int i = 1; i + 1 < count; i++) {
      for (size_t kept = 0; kept < sizeof KEPT / sizeof *KEPT; kept++) {
        if (strcmp(args[i], KEPT[kept])) continue;
        line[length++] = args[i];
        line[length++] = args[++i];
        break;
      }
    }
  }
  line[length] = NULL;
  execvp(QEMU, line);
  perror(QEMU);
  return 1;
}
