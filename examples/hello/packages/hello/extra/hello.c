#include <greet.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* hello [--stay] [NAME]: greets, and with --stay stays as a service does. */
int main(int argc, char **argv) {
  int stays = argc > 1 && strcmp(argv[1], "--stay") == 0;
  char text[256];
  greet(text, sizeof text, argc > 1 + stays ? argv[1 + stays] : "world");
  if (puts(text) < 0 || fflush(stdout) != 0) return 1;
  if (stays) pause();
  return 0;
}
