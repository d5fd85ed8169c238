import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Metafile } from 'esbuild';
import { parseAllDocuments } from 'yaml';
import { StandInLog } from '../../../testbed/transparency-log.ts';
import { TufRepository } from '../../../testbed/tuf-repository.ts';
import { bundle } from '../../../tools/build.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');

interface Container {
  readonly args: readonly string[];
  readonly env: readonly { readonly name: string; readonly value?: string }[];
}

function containersOf(file: string, kind: string): readonly Container[] {
  const documents = parseAllDocuments(readFileSync(join(ROOT, 'manifests', 'base', file), 'utf8'));
  const objects = documents.map((document) => document.toJS() as Workload);
  return objects.find((object) => object.kind === kind)?.spec.template.spec.containers ?? [];
}

interface Workload {
  readonly kind: string;
  readonly spec: { readonly template: { readonly spec: { readonly containers: readonly Container[] } } };
}

describe('the bundle', () => {
  let folder: string;
  let metafile: Metafile;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'treeline-bundle-'));
    metafile = await bundle(join(folder, 'dist'));
    // As in the image: koffi, and nothing else, is beside it.
    mkdirSync(join(folder, 'node_modules'));
    symlinkSync(join(ROOT, 'node_modules', 'koffi'), join(folder, 'node_modules', 'koffi'));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  const treeline = (...args: string[]): string =>
    execFileSync(process.execPath, [join(folder, 'dist', 'treeline.mjs'), ...args], { encoding: 'utf8', cwd: '/' });

  it('runs', () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
    assert.equal(treeline('--version'), `treeline ${version}\n`);
  });

  it('loads every command', () => {
    for (const command of ['operator', 'agent', 'image pull', 'image list', 'encapsulate', 'status', 'rebase']) {
      assert.match(treeline(...command.split(' '), '--help'), /treeline/);
    }
  });

  for (const [file, kind] of [
    ['operator.yaml', 'Deployment'],
    ['agent.yaml', 'DaemonSet'],
  ] as const) {
    it(`takes the arguments and the Node options of ${file}`, () => {
      const [container] = containersOf(file, kind);
      const NODE_OPTIONS = container?.env.find(({ name }) => name === 'NODE_OPTIONS')?.value ?? '';
      assert.match(NODE_OPTIONS, /max-old-space/);
      const said = execFileSync(
        process.execPath,
        [join(folder, 'dist', 'treeline.mjs'), ...(container?.args ?? []), '--help'],
        { encoding: 'utf8', env: { NODE_OPTIONS } },
      );
      assert.match(said, new RegExp(`^Usage: treeline ${container?.args[0]} `));
    });
  }

  it('has a file for each worker thread that its chunks start', () => {
    const texts = Object.keys(metafile.outputs)
      .filter((path) => path.endsWith('.mjs'))
      .map((path) => readFileSync(join(ROOT, path), 'utf8'));
    const workers = texts.flatMap((text) =>
      [...text.matchAll(/new URL\("\.\/([\w.-]+)", import\.meta\.url\)/g)].map((match) => match[1] ?? ''),
    );
    assert.ok(workers.length > 0, 'the importer starts a thread');
    for (const worker of workers) assert.ok(existsSync(join(folder, 'dist', worker)), worker);
  });

  it('needs no source file that .dockerignore keeps from the builder', () => {
    const kept = readFileSync(join(ROOT, '.dockerignore'), 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('!'))
      .map((line) => line.slice(1));
    // What has a colon is made by the bundler itself.
    const sources = Object.keys(metafile.inputs).filter((path) => !/^node_modules\/|:/.test(path));
    assert.ok(sources.length > 50);
    for (const path of [...sources, 'tools/build.ts', 'package-lock.json', 'LICENSE']) {
      assert.ok(
        kept.some((entry) => path === entry || path.startsWith(`${entry}/`)),
        path,
      );
    }
  });

  it('speaks HTTP with the parts of undici that are in it, and loads neither TLS nor HTTP/2 for that', async () => {
    const asked: (string | undefined)[] = [];
    const server = createServer((request, response) => {
      asked.push(request.url);
      response.writeHead(404).end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const repository = join(folder, 'repo');
    execFileSync('ostree', [`--repo=${repository}`, 'init', '--mode=bare-user']);
    const parameters = ['image', 'pull', '--plain-http', host, '--repo', repository, `${host}/os:1`];
    const reporter = join(folder, 'loaded.cjs');
    const loaded = join(folder, 'loaded.json');
    writeFileSync(
      reporter,
      `process.once('exit', () => fs.writeFileSync(${JSON.stringify(loaded)}, JSON.stringify(process.moduleLoadList)));
       const fs = require('node:fs');`,
    );
    try {
      await assert.rejects(
        promisify(execFile)(process.execPath, [
          '--require',
          reporter,
          join(folder, 'dist', 'treeline.mjs'),
          ...parameters,
        ]),
        /has no image os with tag 1/,
      );
    } finally {
      server.close();
    }
    assert.deepEqual(asked, ['/v2/os/manifests/1']);
    const builtIn = JSON.parse(readFileSync(loaded, 'utf8')) as string[];
    assert.ok(builtIn.includes('NativeModule net'));
    assert.deepEqual(
      builtIn.filter((name) => /^NativeModule (tls|http2|https)$/.test(name)),
      [],
    );
  });

  // Each of these was half of the time that a pull took to start.
  it('loads for a pull neither the Kubernetes client nor the parts of libraries that a pull does not use', () => {
    const loaded = inputsOf(metafile, 'cli/commands/image-pull.ts');
    assert.ok(loaded.includes('ostree/import/pull-image.ts'));
    assert.ok(loaded.includes('node_modules/undici/lib/dispatcher/pool.js'));
    assert.ok(loaded.some((path) => path.startsWith('node_modules/zod/')));
    const needless =
      /^(api|node-agent\/kube)\/|\/(yaml|@kubernetes)\/|(@sigstore\/tuf|tuf-js|@tufjs)\/|zod\/v4\/locales\/(?!en\.)|undici\/(index|lib\/(mock|milo|cache|interceptor|global))|^ostree\/(chunking|compose|encapsulate|fsck|packages)\/|^registry\/mirror\//;
    assert.deepEqual(
      loaded.filter((path) => needless.test(path)),
      [],
      'of zod, all is loaded if one module imports it as { z } and not as * as z',
    );
  });

  it('has all that the TUF client reads beside its own code', async () => {
    await using repository = await TufRepository.start();
    const text = new StandInLog().trustedRoot();
    repository.publish('trusted_root.json', text);
    const root = join(folder, 'root.json');
    writeFileSync(root, repository.root());
    const parameters = ['trusted-root', '--mirror', repository.url, '--root', root, '--cache', join(folder, 'tuf')];
    const { stdout } = await promisify(execFile)(process.execPath, [
      join(folder, 'dist', 'treeline.mjs'),
      ...parameters,
    ]);
    assert.equal(stdout, `${text}\n`);
  });

  it('brings no test, demo or tool along', () => {
    const rooms = /^(testbed|test|demo|bench|tools)\//;
    assert.deepEqual(
      Object.keys(metafile.inputs).filter((path) => rooms.test(path)),
      [],
    );
  });
});

/** The files of which something is loaded, at once, with a module that is loaded on its own. */
function inputsOf({ outputs }: Metafile, entryPoint: string): readonly string[] {
  const waiting = Object.keys(outputs).filter((path) => outputs[path]?.entryPoint === entryPoint);
  assert.equal(waiting.length, 1);
  const chunks = new Set(waiting);
  for (const path of chunks) {
    for (const { path: imported, kind } of outputs[path]?.imports ?? []) {
      if (kind === 'import-statement' && imported in outputs) chunks.add(imported);
    }
  }
  return [...chunks].flatMap((path) =>
    Object.entries(outputs[path]?.inputs ?? {})
      .filter(([, { bytesInOutput }]) => bytesInOutput > 0)
      .map(([input]) => input),
  );
}
