import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { release, type Release } from '../../../tools/release.ts';
import { archiveOf } from '../../../tools/release/archive.ts';
import { billOfMaterials } from '../../../tools/release/bill-of-materials.ts';
import { shippedPackages } from '../../../tools/release/shipped-package.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');

interface Bill {
  readonly components: readonly {
    readonly name: string;
    readonly version: string;
    readonly licenses: readonly object[];
    readonly hashes: readonly { readonly content: string }[];
  }[];
}

describe('a release', () => {
  let folder: string;
  let first: Release;
  let unpacked: string;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'treeline-release-test-'));
    first = await release(join(folder, 'first'));
    execFileSync('tar', ['-xzf', first.path, '-C', folder]);
    unpacked = first.path.replace(/^.*\/(.*)\.tar\.gz$/, `${folder}/$1`);
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('is the same to the byte when it is made again', async () => {
    const second = await release(join(folder, 'second'));
    assert.equal(second.digest, first.digest);
    assert.equal(first.digest, `sha256:${createHash('sha256').update(readFileSync(second.path)).digest('hex')}`);
  });

  it('runs from where it was unpacked, with the native library in it', () => {
    const repository = join(folder, 'repo');
    mkdirSync(join(repository, 'objects'), { recursive: true });
    mkdirSync(join(repository, 'refs', 'heads'), { recursive: true });
    mkdirSync(join(repository, 'tmp'));
    writeFileSync(join(repository, 'config'), '[core]\nrepo_version=1\nmode=bare-user\n');
    // Through a link, as one in /usr/local/bin. Pruning takes a lock, which Node alone cannot.
    symlinkSync(join(unpacked, 'bin', 'treeline'), join(folder, 'treeline'));
    const said = execFileSync(join(folder, 'treeline'), ['image', 'prune-layers', '--repo', repository], {
      encoding: 'utf8',
      cwd: '/',
      env: { PATH: `${join(process.execPath, '..')}:/usr/bin:/bin` },
    });
    assert.match(said, /layers?/i);
  });

  it('holds the kubectl plugin, which finds the program beside it through a link', () => {
    symlinkSync(join(unpacked, 'bin', 'kubectl-osimage'), join(folder, 'kubectl-osimage'));
    const env = { PATH: `${join(process.execPath, '..')}:/usr/bin:/bin` };
    const said = execFileSync(join(folder, 'kubectl-osimage'), ['why', '--help'], { encoding: 'utf8', cwd: '/', env });
    assert.match(said, /^Usage: treeline explain /);
  });

  it('names in its bill of materials just what went into it, pinned as in the lock file', () => {
    const bill = JSON.parse(readFileSync(join(unpacked, 'sbom.cdx.json'), 'utf8')) as Bill;
    const names = bill.components.map(({ name }) => name);
    for (const name of ['koffi', 'zod', 'undici', '@kubernetes/client-node']) assert.ok(names.includes(name), name);
    for (const name of ['mocha', 'esbuild', 'typescript', 'fast-check']) assert.ok(!names.includes(name), name);
    const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { version: string; integrity: string }>;
    };
    const zod = bill.components.find(({ name }) => name === 'zod');
    assert.equal(zod?.version, packages['node_modules/zod']?.version);
    const hex = Buffer.from(packages['node_modules/zod']?.integrity.replace('sha512-', '') ?? '', 'base64').toString(
      'hex',
    );
    assert.equal(zod?.hashes[0]?.content, hex);
  });

  it('carries the licence text of every package in it', () => {
    const texts = readFileSync(join(unpacked, 'THIRD-PARTY-LICENCES'), 'utf8');
    const bill = JSON.parse(readFileSync(join(unpacked, 'sbom.cdx.json'), 'utf8')) as Bill;
    for (const { name, version } of bill.components) assert.ok(texts.includes(`${name} ${version}: `), name);
    assert.match(texts, /Permission is hereby granted, free of charge/);
  });
});

describe('the archive of a release', () => {
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'treeline-archive-'))));
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('depends on the names, the content and the executable bit of the files, and on nothing else', () => {
    const make = (name: string, mode: number, seconds: number): Buffer => {
      const at = join(folder, name);
      mkdirSync(join(at, 'b'), { recursive: true });
      writeFileSync(join(at, 'b', 'run'), '#!/bin/sh\n', { mode });
      writeFileSync(join(at, 'a'), 'text');
      chmodSync(join(at, 'b', 'run'), mode);
      utimesSync(join(at, 'a'), seconds, seconds);
      return archiveOf(at, 'x');
    };
    const one = make('one', 0o700, 1);
    assert.ok(one.equals(make('two', 0o755, 100)));
    assert.ok(!one.equals(make('three', 0o644, 1)));
  });

  it('refuses a link, which may lead out of it', () => {
    symlinkSync('/etc', join(folder, 'etc'));
    assert.throws(() => archiveOf(folder, 'x'), /etc is neither a file nor a directory/);
  });
});

describe('a bill of materials', () => {
  const integrity = `sha512-${Buffer.alloc(64, 7).toString('base64')}`;

  it('has an identifier for a licence and an expression for several', () => {
    const packages = [
      { name: '@a/b', version: '1.0.0', licence: 'MIT', integrity, folder: '' },
      { name: 'c', version: '2.0.0', licence: '(MIT AND Zlib)', integrity, folder: '' },
    ];
    const { components } = JSON.parse(billOfMaterials('0.1.0', packages)) as Bill & {
      components: { purl: string }[];
    };
    assert.deepEqual(
      components.map(({ licenses }) => licenses),
      [[{ license: { id: 'MIT' } }], [{ expression: 'MIT AND Zlib' }]],
    );
    assert.equal((components[0] as unknown as { purl: string }).purl, 'pkg:npm/%40a/b@1.0.0');
  });

  it('is refused for a package that the lock file does not pin', () => {
    const metafile = { inputs: { 'node_modules/unheard-of/index.js': {} }, outputs: {} };
    assert.throws(() => shippedPackages(ROOT, metafile as never, []), /node_modules\/unheard-of would be shipped/);
  });
});
