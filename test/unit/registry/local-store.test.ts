import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { digestOf, openImageSource, parseImageReference, RegistryError } from '../../../registry/index.ts';
import { LocalStoreContent, type StoreTool } from '../../../registry/local-store.ts';
import { runImageTool } from '../../../registry/image-tool.ts';
import { ScratchDirectory } from '../../../registry/scratch-directory.ts';
import { podmanStore } from '../../../registry/podman-content.ts';
import { storeReference } from '../../../registry/skopeo.ts';
import { AMD64, collect, sampleImage } from './sample-image.ts';
import { firstLine } from '../../../testbed/first-line.ts';

let directory = '';
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'treeline-store-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

async function failure(promise: Promise<unknown>): Promise<RegistryError> {
  const error: unknown = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof RegistryError, String(error));
  return error;
}

describe('the copy of an image in a local store', () => {
  const image = parseImageReference('containers-storage:os');
  const plain = Buffer.from('the layer');
  const { manifest, manifestBytes, layer, blobs } = sampleImage({ layer: plain, compressed: true });
  const stored = { ...layer, mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: digestOf(plain) };

  function toolThat(fails: number, seen: string[]): StoreTool {
    return {
      manifest: () => Promise.resolve(manifestBytes),
      config: () => Promise.resolve(blobs.get(manifest.config.digest)!),
      async copy(path) {
        seen.push(path);
        await mkdir(path);
        if (seen.length <= fails) throw new RegistryError('ToolFailed', 'no.');
        await writeFile(join(path, digestOf(plain).slice(7)), plain);
        const copied = { ...manifest, layers: [{ ...layer, digest: digestOf(plain), size: plain.length }] };
        await writeFile(join(path, 'manifest.json'), JSON.stringify(copied));
      },
    };
  }

  it('is made once for all layers, verified, and gone afterwards', async () => {
    const seen: string[] = [];
    {
      await using store = new LocalStoreContent(image, toolThat(0, seen), directory);
      const read = () => collect(store.openBlob(stored));
      for (const bytes of await Promise.all([read(), read(), read()])) assert.ok(bytes.equals(plain));
      assert.equal(seen.length, 1);
      assert.equal((await readdir(directory)).length, 1);
      assert.equal((await failure(collect(store.openBlob(layer)))).code, 'NotFound');
      assert.equal((await failure(collect(store.openRange(layer)))).code, 'RangeUnsupported');
      assert.equal((await failure(store.manifest(layer))).code, 'NotFound');
      await writeFile(join(seen[0]!, digestOf(plain).slice(7)), 'the liar!');
      assert.equal((await failure(read())).code, 'DigestMismatch');
    }
    assert.deepEqual(await readdir(directory), []);
  });

  it('leaves nothing when it fails, and is made anew when asked again', async () => {
    const seen: string[] = [];
    await using store = new LocalStoreContent(image, toolThat(1, seen), directory);
    assert.equal((await failure(collect(store.openBlob(stored)))).code, 'ToolFailed');
    assert.deepEqual(await readdir(directory), []);
    assert.ok((await collect(store.openBlob(stored))).equals(plain));
    assert.equal(seen.length, 2);
  });

  it('is refused when the store answers with another config than the manifest names', async () => {
    const tool = { ...toolThat(0, []), config: () => Promise.resolve(Buffer.from('{}')) };
    await using store = new LocalStoreContent(image, tool, directory);
    assert.equal((await failure(collect(store.openBlob(manifest.config)))).code, 'SizeMismatch');
  });
});

describe('a scratch directory', () => {
  it('of a killed run is removed by the next; one in use, a new one, and what is not ours stay', async () => {
    const script =
      `const { ScratchDirectory } = await import(${JSON.stringify(new URL('../../../registry/scratch-directory.ts', import.meta.url).href)});` +
      `await using scratch = await ScratchDirectory.create(${JSON.stringify(directory)});` +
      `console.log(scratch.path); await new Promise((resolve) => setTimeout(resolve, 60_000));`;
    const start = async () => {
      const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      return { child, name: (await firstLine(child)).slice(directory.length + 1) };
    };
    const dead = await start();
    const living = await start();
    try {
      dead.child.kill('SIGKILL');
      await once(dead.child, 'exit');
      await mkdir(join(directory, 'treeline-image-new'));
      await mkdir(join(directory, 'treeline-image-old'));
      await utimes(join(directory, 'treeline-image-old'), 0, 0);
      await mkdir(join(directory, 'somebody'));
      await symlink('somebody', join(directory, 'treeline-image-link'));
      assert.ok((await readdir(directory)).includes(dead.name));
      {
        await using scratch = await ScratchDirectory.create(directory);
        const own = scratch.path.slice(directory.length + 1);
        const kept = [own, living.name, 'treeline-image-new', 'treeline-image-link', 'somebody'];
        assert.deepEqual((await readdir(directory)).sort(), kept.sort());
      }
      assert.equal((await readdir(directory)).length, 4);
    } finally {
      living.child.kill('SIGKILL');
      await once(living.child, 'exit');
    }
  });

  it('works however long its path is, and says so when there is no room for it', async () => {
    const deep = join(directory, 'a-long-name/'.repeat(12));
    {
      await using scratch = await ScratchDirectory.create(deep);
      assert.ok(scratch.path.length > 108);
    }
    await writeFile(join(directory, 'file'), '');
    assert.equal((await failure(ScratchDirectory.create(join(directory, 'file')))).code, 'WriteFailed');
  });
});

describe('a tool that reads images', () => {
  async function tool(
    body: string,
  ): Promise<{ program: string; args: string[]; environment: NodeJS.ProcessEnv; outputMaxBytes: number }> {
    const program = join(directory, 'tool');
    await writeFile(program, `#!/bin/sh\n${body}\n`);
    await chmod(program, 0o755);
    return { program, args: ['inspect', '--raw', 'secret'], environment: process.env, outputMaxBytes: 1000 };
  }

  it('is quoted when it fails, at the end of what it said, in printable characters', async () => {
    const call = await tool(`printf 'start%01000d\\033[31mthe reason\\n' 0 >&2; exit 3`);
    const error = await failure(runImageTool(call));
    assert.equal(error.code, 'ToolFailed');
    assert.match(error.message, /tool inspect --raw …` ends with status 3 \(0+ \[31mthe reason\)/);
    assert.doesNotMatch(error.message, /start|secret/);
    assert.ok(error.message.length < 700);
  });

  it('that prints without end is stopped', async () => {
    assert.equal((await failure(runImageTool(await tool('exec yes')))).code, 'TooLarge');
  });

  it('ends when its caller gives up', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    const running = runImageTool({ ...(await tool('exec sleep 60')), signal: controller.signal });
    setTimeout(() => controller.abort(reason), 50);
    await assert.rejects(running, reason);
  });

  it('that is missing is named, with what to do', async () => {
    for (const [text, tools] of [
      ['containers-storage:os', 'skopeo or podman, and neither is installed (or in $PATH)'],
      ['docker-daemon:os:v1', 'skopeo, which is not installed (or not in $PATH)'],
    ] as const) {
      await using source = openImageSource(parseImageReference(text), { environment: { PATH: directory } });
      const error = await failure(source.resolve(AMD64));
      assert.equal(error.code, 'ToolMissing');
      assert.ok(error.message.startsWith(`${text} is read with ${tools}: install it, or push`), error.message);
    }
  });
});

it('an image id loses its sha256: on the way to skopeo, whatever store it is in; nothing else changes', () => {
  const id = 'a'.repeat(64);
  for (const [given, passed] of [
    [`sha256:${id}`, id],
    [`[vfs@/a+/b]sha256:${id}`, `[vfs@/a+/b]${id}`],
    ['sha256:latest', 'sha256:latest'],
    [`localhost/os@sha256:${id}`, `localhost/os@sha256:${id}`],
  ] as const) {
    assert.equal(storeReference({ transport: 'containers-storage', name: given }).name, passed);
  }
  assert.equal(storeReference({ transport: 'docker-daemon', name: `sha256:${id}` }).name, `sha256:${id}`);
});

it('podman is given the store that the reference names', () => {
  const flagsOf = (name: string): string => podmanStore({ transport: 'containers-storage', name }).flags.join(' ');
  assert.equal(flagsOf('os:v1'), '');
  assert.equal(flagsOf('[/a/b]os'), '--root /a/b');
  assert.equal(flagsOf('[vfs@/a+/r]os'), '--storage-driver vfs --root /a --runroot /r');
  assert.equal(
    flagsOf('[overlay@/a+/r:overlay.x=1,overlay.y=/z]os'),
    '--storage-driver overlay --root /a --runroot /r --storage-opt overlay.x=1 --storage-opt overlay.y=/z',
  );
  assert.equal(
    podmanStore({ transport: 'containers-storage', name: '[vfs@/a]localhost/os:v1' }).name,
    'localhost/os:v1',
  );
  for (const name of ['[vfs]os', '[vfs@/a]', '[vfs@relative]os']) {
    assert.throws(() => podmanStore({ transport: 'containers-storage', name }), /must be containers-storage:\[/);
  }
});
