/** Descriptors that Node hands to a child are non-blocking; a child that does one thing at a time wants to wait. */
import koffi from 'koffi';
import { lastError } from './libc.ts';

/** fcntl(2), on all of Linux's architectures that Node runs on. */
const F_GETFL = 3;
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;

/** Makes reading from and writing to `descriptor` wait. Throws what the system says, with its code. */
export function makeBlocking(descriptor: number): void {
  // Variadic in C; where Linux runs, integers are passed in the same way.
  const fcntl = koffi.load(null).func('int fcntl(int fd, int command, long argument)') as (
    descriptor: number,
    command: number,
    argument: number,
  ) => number;
  const flags = fcntl(descriptor, F_GETFL, 0);
  if (flags < 0 || fcntl(descriptor, F_SETFL, flags & ~O_NONBLOCK) < 0) throw lastError('fcntl');
}
