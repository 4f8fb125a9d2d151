#ifndef GREET_H
#define GREET_H

/* Writes a greeting for `name` into `out`, which holds `size` bytes. Returns its length. */
int greet(char *out, unsigned long size, const char *name);

#endif
