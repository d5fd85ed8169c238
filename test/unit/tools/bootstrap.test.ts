import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runCommand, tryCommand } from '../../../tools/setup/command.ts';
import { firstLine } from '../../../testbed/first-line.ts';

const LOCK = { packages: { '': {}, 'node_modules/one': { version: '1.0.0', integrity: 'sha512-one' } } };
const PINNED = `node_modules/node-${process.platform}-${process.arch}/bin`;
const CHANGED = { packages: { ...LOCK.packages, 'node_modules/two': { version: '2.0.0', integrity: 'sha512-two' } } };

describe('tools/bootstrap.mjs', () => {
  let checkout: string;
  let npmCalls: string;

  beforeEach(async () => {
    checkout = await mkdtemp(join(tmpdir(), 'treeline-bootstrap-'));
    npmCalls = join(checkout, 'npm-calls');
    await mkdir(join(checkout, 'tools'));
    await mkdir(join(checkout, 'bin'));
    await copyFile(join(import.meta.dirname, '../../../tools/bootstrap.mjs'), join(checkout, 'tools', 'bootstrap.mjs'));
    await writeFile(join(checkout, 'package.json'), JSON.stringify({ engines: { node: '>=26.9' } }));
    await writeFile(join(checkout, 'package-lock.json'), JSON.stringify(LOCK));
    await writeFile(
      join(checkout, 'script.ts'),
      'process.stdout.write(process.argv.slice(2).join() as string);process.exit(7)',
    );
    await symlink(process.execPath, join(checkout, 'bin', 'node'));
    // An npm that installs as npm does: everything away, then packages, then its own record of them.
    await useNpm(`
      echo "$@" >> ${npmCalls}
      rm -rf node_modules && mkdir -p node_modules/.bin ${PINNED}
      ln -s ${process.execPath} ${PINNED}/node
      ln -s ../../${PINNED}/node node_modules/.bin/node
      cp package-lock.json node_modules/.package-lock.json`);
  });

  afterEach(() => rm(checkout, { recursive: true }));

  async function useNpm(commands: string): Promise<void> {
    await writeFile(join(checkout, 'bin', 'npm'), `#!/bin/sh\nset -e\n${commands}\n`);
    await chmod(join(checkout, 'bin', 'npm'), 0o755);
  }

  const environment = () => ({
    PATH: `${join(checkout, 'bin')}:/usr/bin:/bin`,
    TREELINE_CACHE_DIR: join(checkout, 'cache'),
  });
  const bootstrap = (...more: string[]) =>
    tryCommand(process.execPath, [join(checkout, 'tools', 'bootstrap.mjs'), 'script.ts', ...more], {
      env: environment(),
    });
  const installations = async () => (await readFile(npmCalls, 'utf8').catch(() => '')).split('\n').length - 1;

  it('installs what the lock file pins, without install scripts, and says why', async () => {
    const { stderr } = await bootstrap();
    assert.match(stderr, /Installing the npm packages .*: there is no node_modules yet\./);
    assert.match(await readFile(npmCalls, 'utf8'), /^ci --ignore-scripts/);
  });

  it('runs the script with its arguments and ends with its exit code', async () => {
    const { stdout, code } = await bootstrap('--flag', 'two words');
    assert.deepEqual({ stdout, code }, { stdout: '--flag,two words', code: 7 });
  });

  it('installs once, and again when the lock file has changed', async () => {
    await bootstrap();
    await bootstrap();
    assert.equal(await installations(), 1);
    await writeFile(join(checkout, 'package-lock.json'), JSON.stringify(CHANGED));
    assert.match((await bootstrap()).stderr, /node_modules does not match package-lock\.json/);
    assert.equal(await installations(), 2);
  });

  it('accepts an installation that a person made with npm', async () => {
    await runCommand(join(checkout, 'bin', 'npm'), ['install'], { cwd: checkout });
    await bootstrap();
    assert.equal(await installations(), 1);
  });

  it('installs afresh after an npm ci that was killed half-way', async () => {
    await bootstrap();
    await writeFile(join(checkout, 'package-lock.json'), JSON.stringify(CHANGED));
    await useNpm('kill -9 $$');
    const killed = await bootstrap();
    assert.equal(killed.code, 1);
    assert.match(killed.stderr, /npm ci was stopped by SIGKILL; run this again/);
    await useNpm(`echo again >> ${npmCalls}; cp package-lock.json node_modules/.package-lock.json`);
    const after = await bootstrap();
    assert.match(after.stderr, /an earlier installation did not finish/);
    assert.equal(after.code, 7);
  });

  it('leaves the way to the other Node open, and says what is missing, when the pinned one does not start', async () => {
    await bootstrap();
    const library = 'libodd.so.1: cannot open shared object file';
    const broken = `#!/bin/sh\necho "node: error while loading shared libraries: ${library}" >&2\nexit 127\n`;
    await rm(join(checkout, PINNED, 'node'));
    await writeFile(join(checkout, PINNED, 'node'), broken, { mode: 0o755 });
    const failed = await bootstrap();
    assert.equal(failed.code, 1);
    assert.match(failed.stderr, /The pinned Node does not start on this machine: .*libodd/);
    await assert.rejects(readFile(join(checkout, 'node_modules', '.bin', 'node')), { code: 'ENOENT' });

    await rm(join(checkout, PINNED, 'node'));
    await symlink(process.execPath, join(checkout, PINNED, 'node'));
    assert.equal((await bootstrap()).code, 7);
    assert.equal(await installations(), 1);
  });

  it('says in one sentence what to do when npm is missing', async () => {
    await rm(join(checkout, 'bin', 'npm'));
    const env = { ...environment(), PATH: join(checkout, 'bin') };
    const { code, stderr } = await tryCommand(
      process.execPath,
      [join(checkout, 'tools', 'bootstrap.mjs'), 'script.ts'],
      { env },
    );
    assert.equal(code, 1);
    assert.match(stderr, /npm is not on the PATH\. Install it/);
  });

  it('passes SIGTERM on to the script', async () => {
    await bootstrap();
    await writeFile(
      join(checkout, 'script.ts'),
      "process.on('SIGTERM', () => process.exit(9)); console.log('up'); setTimeout(() => {}, 60_000);",
    );
    const child = spawn(process.execPath, [join(checkout, 'tools', 'bootstrap.mjs'), 'script.ts'], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, ...environment() },
    });
    assert.equal(await firstLine(child), 'up');
    child.kill('SIGTERM');
    const [code] = (await once(child, 'exit')) as [number];
    assert.equal(code, 9);
  });
});
