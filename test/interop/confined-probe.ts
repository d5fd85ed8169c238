/** Tries, from inside of a confined process, what one that has been taken over would try; says as JSON how it went. */
import koffi from 'koffi';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { lookup } from 'node:dns/promises';
import { connect } from 'node:net';
import process from 'node:process';
import { getSystemErrorName } from 'node:util';
import { forbiddenCalls } from '../../testbed/forbidden-calls.ts';
import type { Attempts } from './probe-report.ts';

const paths = JSON.parse(readFileSync(0, 'utf8')) as Attempts;

const codeOf = (error: unknown): string => String((error as NodeJS.ErrnoException).code ?? error);
const outcome = (act: () => unknown): string => {
  try {
    act();
    return 'done';
  } catch (error) {
    return codeOf(error);
  }
};
const reach = (port: number): Promise<string> =>
  new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.once('connect', () => {
      socket.destroy();
      resolve('done');
    });
    socket.once('error', (error) => resolve(codeOf(error)));
  });

// They are variadic in C; where Linux runs, integers are passed in the same way.
const libc = koffi.load(null);
const bareCall = libc.func('long syscall(long number, long a, long b, long c, long d, long e)') as (
  ...numbers: number[]
) => number;
const socket = libc.func('int socket(int family, int type, int protocol)') as (...numbers: number[]) => number;
const told = (result: number): string => (result >= 0 ? 'done' : getSystemErrorName(-koffi.errno()));

const [AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_VSOCK] = [1, 2, 10, 16, 17, 40];
const [SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, IPPROTO_SCTP] = [1, 2, 3, 132];

const threads = readdirSync('/proc/self/task').map((thread) =>
  readFileSync(`/proc/self/task/${thread}/status`, 'utf8'),
);
const architecture = process.arch === 'arm64' ? 'arm64' : 'x64';

const report = {
  root: readdirSync('/').sort(),
  program: readdirSync('/program').sort(),
  processes: readdirSync('/proc').filter((name) => /^\d+$/.test(name)),
  environment: Object.keys(process.env).sort(),
  interfaces: [...readFileSync('/proc/self/net/dev', 'utf8').matchAll(/^ *(\S+):/gm)].map(([, name]) => name),
  descriptors: readdirSync('/proc/self/fd')
    .map(Number)
    .filter((fd) => fd < 3),
  filters: threads.map((status) => /^Seccomp:\s+(\d)$[^]*?^Seccomp_filters:\s+(\d+)$/m.exec(status)?.slice(1).join()),
  read: Object.fromEntries(paths.read.map((path) => [path, outcome(() => readFileSync(path))])),
  write: Object.fromEntries(paths.write.map((path) => [path, outcome(() => writeFileSync(path, ''))])),
  connect: await reach(paths.port),
  lookup: await lookup('localhost').then(() => 'done', codeOf),
  sockets: {
    tcp: told(socket(AF_INET, SOCK_STREAM, 0)),
    udp: told(socket(AF_INET6, SOCK_DGRAM, 0)),
    raw: told(socket(AF_INET, SOCK_RAW, 1)),
    sctp: told(socket(AF_INET, SOCK_STREAM, IPPROTO_SCTP)),
    unix: told(socket(AF_UNIX, SOCK_STREAM, 0)),
    netlink: told(socket(AF_NETLINK, SOCK_DGRAM, 0)),
    packet: told(socket(AF_PACKET, SOCK_DGRAM, 0)),
    vsock: told(socket(AF_VSOCK, SOCK_STREAM, 0)),
  },
  signal: outcome(() => process.kill(paths.signal, 0)),
  start: codeOf(spawnSync('true').error),
  calls: Object.fromEntries(
    forbiddenCalls(architecture).map(([name, number]) => [name, told(bareCall(number, 0, 0, 0, 0, 0))]),
  ),
};
process.stdout.write(JSON.stringify(report));
