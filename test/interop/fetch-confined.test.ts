/** The process that has the network has nothing else. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import process from 'node:process';
import { startConfined } from '../../confinement/confined-process.ts';
import { assertSealed, probeReport } from './probe-report.ts';

const NETWORK_FILES = ['/etc/resolv.conf', '/etc/hosts', '/etc/nsswitch.conf'].filter((path) => existsSync(path));

describe('a process without privilege that has the network', () => {
  it('reaches hosts and the files by which they are found, and no other file, process, privilege, kind of socket or system call', async () => {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const probe = startConfined(new URL('./confined-probe.ts', import.meta.url), { network: true });
    try {
      const report = await probeReport(probe, {
        read: [...NETWORK_FILES, '/etc/shadow', '/var/run/secrets/kubernetes.io/serviceaccount/token', '/root'],
        write: [...NETWORK_FILES, '/x', '/etc/x', '/usr/x', '/program/code/x'],
        port: (server.address() as AddressInfo).port,
        signal: process.pid,
      });
      assert.deepEqual(report['root'], ['bin', 'etc', 'lib', 'lib64', 'proc', 'program', 'sbin', 'usr']);
      assert.deepEqual(report['processes'], ['1']);
      assert.equal(report['connect'], 'done');
      assert.equal(report['lookup'], 'done');
      for (const [path, outcome] of Object.entries(report.read)) {
        assert.equal(outcome, NETWORK_FILES.includes(path) ? 'done' : 'ENOENT', path);
      }
      for (const [path, outcome] of Object.entries(report.write)) assert.match(outcome, /^(EROFS|EACCES)$/, path);
      assert.equal(report['signal'], 'ESRCH');
      assertSealed(report);
      const { tcp, udp, ...others } = report.sockets;
      assert.deepEqual([tcp, udp], ['done', 'done']);
      for (const [kind, outcome] of Object.entries(others)) {
        assert.match(outcome, /^(EAFNOSUPPORT|EPROTONOSUPPORT)$/, kind);
      }
    } finally {
      probe.kill('SIGKILL');
      server.close();
    }
  });
});
