/** Tries, from inside of a confined process, what one that has been taken over would try; says as JSON how it went. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import process from 'node:process';
import type { Attempts } from './probe-report.ts';

const paths = JSON.parse(readFileSync(0, 'utf8')) as Attempts;

const outcome = (act: () => unknown): string => {
  try {
    act();
    return 'done';
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code ?? error);
  }
};
const program = (name: string, ...parameters: string[]): string => {
  const { status, error } = spawnSync(name, parameters, { stdio: 'pipe' });
  return status === 0 ? 'done' : error === undefined ? 'refused' : String(error);
};
const reach = (port: number): Promise<string> =>
  new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.once('connect', () => {
      socket.destroy();
      resolve('done');
    });
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'refused'));
  });

const report = {
  root: readdirSync('/').sort(),
  program: readdirSync('/program').sort(),
  processes: readdirSync('/proc').filter((name) => /^\d+$/.test(name)),
  environment: Object.keys(process.env).sort(),
  interfaces: Object.keys(networkInterfaces()),
  descriptors: readdirSync('/proc/self/fd')
    .map(Number)
    .filter((fd) => fd < 3),
  read: Object.fromEntries(paths.read.map((path) => [path, outcome(() => readFileSync(path))])),
  write: Object.fromEntries(paths.write.map((path) => [path, outcome(() => writeFileSync(path, ''))])),
  connect: await reach(paths.port),
  becomeRoot: outcome(() => process.setuid?.(0)),
  signal: outcome(() => process.kill(paths.signal, 0)),
  mount: program('mount', '-t', 'tmpfs', 'x', '/proc'),
  namespace: program('unshare', '--mount', 'true'),
};
process.stdout.write(JSON.stringify(report));
