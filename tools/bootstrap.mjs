/**
 * The one file that whatever Node a machine has must be able to run: it makes the dependencies match
 * package-lock.json, then hands over to the pinned Node that is one of them. No dependencies, no recent syntax.
 *
 *   node tools/bootstrap.mjs SCRIPT.ts [argument…]
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

/** The oldest Node whose npm understands our lock file and installs what it names. */
const OLDEST_NODE_MAJOR = 20;
/** How often a second bootstrap looks whether the first has finished. */
const LOCK_POLL_MS = 300;

const root = resolve(fileURLToPath(new URL('..', import.meta.url)));
const modules = join(root, 'node_modules');
const stamp = join(modules, '.treeline-lock-hash');
/** npm writes it last, so it is proof of a completed install; we delete it before we start one. */
const installedLock = join(modules, '.package-lock.json');
/** What `npm run` finds before any other Node; ours to take away while the pinned one cannot start. */
const nodeLink = join(modules, '.bin', 'node');
const pinnedNode = join(modules, `node-${process.platform}-${process.arch}`, 'bin', 'node');

function say(sentence) {
  process.stderr.write(`${sentence}\n`);
}

function fail(sentence) {
  say(sentence);
  process.exit(1);
}

/** The same rule as tools/setup/cache.ts, which cannot be imported before the pinned Node is there. */
function cacheDirectory() {
  const environment = process.env;
  if (environment.TREELINE_CACHE_DIR) return resolve(environment.TREELINE_CACHE_DIR);
  return join(environment.XDG_CACHE_HOME || join(homedir(), '.cache'), 'treeline');
}

/** True when npm's own record of what it installed holds every package of the lock file that this machine needs. */
function installedMatches(lock) {
  if (!existsSync(installedLock)) return false;
  try {
    const wanted = JSON.parse(lock).packages;
    const installed = JSON.parse(readFileSync(installedLock, 'utf8')).packages;
    return Object.keys(wanted).every(function matches(path) {
      if (path === '') return true;
      const found = installed[path];
      if (found === undefined) return wanted[path].optional === true;
      return found.integrity === wanted[path].integrity && found.version === wanted[path].version;
    });
  } catch (error) {
    say(`Ignoring an unreadable ${installedLock}: ${error.message}`);
    return false;
  }
}

/** Why `npm ci` must run, or undefined when the dependencies are in step. Leaves the stamp up to date. */
function reasonToInstall(lock, hash) {
  if (!existsSync(modules)) return 'there is no node_modules yet';
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === hash && existsSync(installedLock)) return undefined;
  if (installedMatches(lock)) {
    writeFileSync(stamp, hash);
    return undefined;
  }
  return existsSync(installedLock)
    ? 'node_modules does not match package-lock.json'
    : 'an earlier installation did not finish';
}

function processIsAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

/** Two bootstraps of one checkout must not run `npm ci` over each other. A lock whose owner is gone is taken over. */
function acquireLock(path) {
  let told = false;
  for (;;) {
    try {
      writeFileSync(path, String(process.pid), { flag: 'wx' });
      return;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    const owner = existsSync(path) ? Number(readFileSync(path, 'utf8')) : 0;
    if (owner > 0 && processIsAlive(owner)) {
      if (!told) say(`Waiting for another set-up of this checkout (process ${owner}) to finish.`);
      told = true;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LOCK_POLL_MS);
    } else {
      rmSync(path, { force: true });
    }
  }
}

function installDependencies() {
  const lockFile = join(root, 'package-lock.json');
  const read = () => readFileSync(lockFile, 'utf8');
  const hashOf = (text) => createHash('sha256').update(text).digest('hex');
  if (reasonToInstall(read(), hashOf(read())) === undefined) return;

  const locks = join(cacheDirectory(), 'locks');
  mkdirSync(locks, { recursive: true });
  const held = join(locks, `npm-ci-${hashOf(root).slice(0, 16)}`);
  acquireLock(held);
  try {
    const lock = read();
    const reason = reasonToInstall(lock, hashOf(lock));
    if (reason === undefined) return;
    say(`Installing the npm packages that package-lock.json pins, the project's own Node among them: ${reason}.`);
    rmSync(stamp, { force: true });
    rmSync(installedLock, { force: true });
    const npm = spawnSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], {
      cwd: root,
      stdio: ['ignore', 2, 2],
    });
    if (npm.error !== undefined && npm.error.code === 'ENOENT') {
      fail('npm is not on the PATH. Install it (Debian and Ubuntu: apt-get install npm), then run this again.');
    }
    if (npm.signal) fail(`npm ci was stopped by ${npm.signal}; run this again and it starts afresh.`);
    if (npm.status !== 0) {
      fail('npm ci failed, see its message above; when the registry is reachable again, run this again.');
    }
    writeFileSync(stamp, hashOf(lock));
  } finally {
    rmSync(held, { force: true });
  }
}

/** What a shared library that the pinned Node misses is called in Debian and Ubuntu. */
const LIBRARY_PACKAGES = { 'libatomic.so.1': 'libatomic1', 'libstdc++.so.6': 'libstdc++6' };

/** Whether the pinned Node starts; a minimal system may lack a library that it is linked with. */
function startPinnedNode() {
  const { status, stderr } = spawnSync(pinnedNode, ['--version'], { encoding: 'utf8' });
  return { starts: status === 0, missing: (/loading shared libraries: (\S+):/.exec(stderr || '') || [])[1], stderr };
}

/** Makes the pinned Node start, installing the library that it misses; else leaves the machine's own Node to `npm run`. */
function ensurePinnedNodeStarts() {
  let tried = startPinnedNode();
  if (!tried.starts) {
    rmSync(nodeLink, { force: true });
    const name = LIBRARY_PACKAGES[tried.missing];
    if (name === undefined) fail(`The pinned Node does not start on this machine: ${tried.stderr}`);
    const command = `apt-get update && apt-get install -y --no-install-recommends ${name}`;
    if (process.getuid() !== 0) fail(`The pinned Node needs ${tried.missing}. As root, run: ${command}`);
    say(`Installing the Debian package ${name}: the pinned Node is linked with ${tried.missing}.`);
    const environment = Object.assign({}, process.env, { DEBIAN_FRONTEND: 'noninteractive' });
    spawnSync('sh', ['-c', command.replaceAll('apt-get', 'apt-get -qq -o DPkg::Lock::Timeout=600')], {
      stdio: ['ignore', 'ignore', 2],
      env: environment,
    });
    tried = startPinnedNode();
    if (!tried.starts) fail(`${name} could not be installed, see above. Run it yourself, then this again: ${command}`);
  }
  if (!existsSync(nodeLink))
    symlinkSync(join('..', `node-${process.platform}-${process.arch}`, 'bin', 'node'), nodeLink);
}

/** The pinned Node; where npm has none for this processor, the running one if it is recent enough. */
function chooseNode() {
  if (existsSync(pinnedNode)) {
    ensurePinnedNodeStarts();
    return nodeLink;
  }
  const wanted = /(\d+)\.(\d+)/.exec(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).engines.node);
  const own = process.versions.node.split('.').map(Number);
  const major = Number(wanted[1]);
  if (own[0] > major || (own[0] === major && own[1] >= Number(wanted[2]))) return process.execPath;
  return fail(
    `There is no pinned Node for ${process.platform} ${process.arch}, and this Node is ${process.version}: ` +
      `install Node ${wanted[0]} or later yourself, then run this again.`,
  );
}

function runScript(node, commandLine) {
  const compileCache = join(cacheDirectory(), 'node-compile-cache');
  const environment = Object.assign({ NODE_COMPILE_CACHE: compileCache }, process.env, {
    PATH: [join(modules, '.bin'), process.env.PATH].join(delimiter),
  });
  const child = spawn(node, commandLine, { stdio: 'inherit', env: environment });
  const handlers = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'].map(function forward(signal) {
    // A terminal sends Ctrl-C to the whole foreground group; a second one from us would look like impatience.
    const fromTerminal = process.stdin.isTTY === true && (signal === 'SIGINT' || signal === 'SIGQUIT');
    const handler = () => {
      if (!fromTerminal) child.kill(signal);
    };
    process.on(signal, handler);
    return [signal, handler];
  });
  child.on('error', (error) => fail(`Cannot run ${node}: ${error.message}`));
  child.on('exit', (code, signal) => {
    for (const [name, handler] of handlers) process.removeListener(name, handler);
    if (signal) process.kill(process.pid, signal);
    else process.exit(code);
  });
}

if (Number(process.versions.node.split('.')[0]) < OLDEST_NODE_MAJOR) {
  fail(`This is Node ${process.versions.node}; Treeline's scripts need Node ${OLDEST_NODE_MAJOR} or later to start.`);
}
const [script, ...scriptArguments] = process.argv.slice(2);
if (script === undefined) fail('Usage: node tools/bootstrap.mjs SCRIPT.ts [argument…]');
installDependencies();
runScript(chooseNode(), [resolve(root, script), ...scriptArguments]);
