/** Treeline against distribution's own registry, with skopeo as the judge of what we write and the writer of what we read. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  type Descriptor,
  digestOf,
  type ImageReference,
  type ImageSource,
  openImageDestination,
  openImageSource,
  parseAnyImageReference,
  parseDockerConfig,
  RegistryError,
  type RegistryErrorCode,
  type RegistryOptions,
  resolveTag,
} from '../../registry/index.ts';
import { startRegistry, type TestRegistry } from '../../testbed/registry.ts';
import { AMD64, collect, sampleImage, type SampleImage } from '../unit/registry/sample-image.ts';

const run = promisify(execFile);
const LABELS = { 'org.opencontainers.image.version': '7', html: '<a & b>' };
const first = sampleImage({ layer: randomBytes(5_000_000), labels: LABELS, compressed: true });
const second = sampleImage({ layer: randomBytes(50_000), architecture: 'arm64', compressed: true });

let directory = '';
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'treeline-registry-'));
});
after(async () => {
  await rm(directory, { recursive: true, force: true });
});

async function skopeo(...args: string[]): Promise<string> {
  return (await run('skopeo', ['--insecure-policy', ...args], { maxBuffer: 16 * 1024 * 1024 })).stdout;
}

async function push(image: SampleImage, reference: ImageReference, options: RegistryOptions): Promise<string> {
  await using destination = openImageDestination(reference, options);
  for (const descriptor of [image.manifest.config, ...image.manifest.layers]) {
    await destination.putBlob(descriptor, async function* () {
      yield await Promise.resolve(image.blobs.get(descriptor.digest) ?? Buffer.alloc(0));
    });
  }
  return await destination.putManifest(image.manifest);
}

async function readLayers(source: ImageSource, layers: readonly Descriptor[]): Promise<string[]> {
  const digests: string[] = [];
  for (const layer of layers) digests.push(digestOf(await collect(source.openBlob(layer))));
  return digests;
}

const named = (text: string): ImageReference => parseAnyImageReference(text).image;

async function fails(promise: Promise<unknown>, code: RegistryErrorCode, message: RegExp): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof RegistryError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  });
}

describe('a real registry', () => {
  let registry: TestRegistry;
  let options: RegistryOptions;
  before(async () => {
    registry = await startRegistry({ storage: join(directory, 'anonymous') });
    options = { plainHttpHosts: [registry.host] };
  });
  after(() => registry.stop());

  it('takes what we push, and skopeo agrees on the digest and copies it', async () => {
    const name = `${registry.host}/team/os:v1`;
    assert.equal(await push(first, named(name), options), first.digest);
    const inspected = JSON.parse(await skopeo('inspect', '--tls-verify=false', `docker://${name}`)) as {
      Digest: string;
      Labels: object;
      Layers: string[];
    };
    assert.equal(inspected.Digest, first.digest);
    assert.deepEqual(inspected.Labels, LABELS);
    assert.deepEqual(inspected.Layers, [first.layer.digest]);
    await skopeo('copy', '-q', '--src-tls-verify=false', `docker://${name}`, `dir:${directory}/copied`);
    assert.equal(digestOf(await readFile(join(directory, 'copied/manifest.json'))), first.digest);
  });

  it('gives us what skopeo pushed, also as docker schema 2, converted as skopeo converts it', async () => {
    await push(first, named(`oci:${directory}/layout:v1`), {});
    for (const format of ['oci', 'v2s2']) {
      const name = `${registry.host}/skopeo/os:${format}`;
      await skopeo(
        'copy',
        '-q',
        '--dest-tls-verify=false',
        '--format',
        format,
        `oci:${directory}/layout:v1`,
        `docker://${name}`,
      );
      const raw = await skopeo('inspect', '--raw', '--tls-verify=false', `docker://${name}`);
      await using source = openImageSource(named(name), options);
      const image = await source.resolve(AMD64);
      assert.equal(image.digest, digestOf(raw), 'the digest is that of the original bytes');
      assert.deepEqual(
        await readLayers(source, image.manifest.layers),
        image.manifest.layers.map(({ digest }) => digest),
      );
      // skopeo's own conversion to OCI is the reference for ours.
      await skopeo(
        'copy',
        '-q',
        '--src-tls-verify=false',
        '--format',
        'oci',
        `docker://${name}`,
        `dir:${directory}/${format}`,
      );
      const converted = JSON.parse(await readFile(join(directory, format, 'manifest.json'), 'utf8')) as {
        config: object;
        layers: object[];
      };
      assert.deepEqual(image.manifest.config, converted.config);
      assert.deepEqual(image.manifest.layers, converted.layers);
      assert.equal(
        image.manifest.mediaType ?? 'application/vnd.oci.image.manifest.v1+json',
        'application/vnd.oci.image.manifest.v1+json',
      );
      assert.deepEqual(image.config.config?.Labels, LABELS);
    }
  });

  it('resolves an index that skopeo copied to one digest per architecture', async () => {
    const layout = join(directory, 'multi');
    await push(first, named(`oci:${layout}:amd64`), {});
    await push(second, named(`oci:${layout}:arm64`), {});
    const entry = (image: SampleImage, architecture: string) => ({
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      digest: image.digest,
      size: image.manifestBytes.length,
      platform: { architecture, os: 'linux' },
    });
    const index = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: 'application/vnd.oci.image.index.v1+json',
        manifests: [entry(first, 'amd64'), entry(second, 'arm64')],
      }),
    );
    const digest = digestOf(index);
    await writeFile(join(layout, 'blobs/sha256', digest.slice('sha256:'.length)), index);
    await writeFile(
      join(layout, 'index.json'),
      JSON.stringify({
        schemaVersion: 2,
        manifests: [{ mediaType: 'application/vnd.oci.image.index.v1+json', digest, size: index.length }],
      }),
    );
    const name = `${registry.host}/multi/os:v1`;
    await skopeo('copy', '-q', '--all', '--dest-tls-verify=false', `oci:${layout}`, `docker://${name}`);
    const resolved = await resolveTag(named(name), options);
    assert.equal(resolved.digest, digest);
    assert.deepEqual(resolved.platforms, { amd64: first.digest, arm64: second.digest });
    for (const [architecture, manifestDigest] of Object.entries(resolved.platforms)) {
      await using source = openImageSource(named(`${registry.host}/multi/os@${manifestDigest}`), options);
      assert.equal((await source.resolve({ os: 'linux', architecture })).digest, manifestDigest);
    }
    const fromLayout = await resolveTag(named(`oci:${layout}`));
    assert.deepEqual(fromLayout.platforms, resolved.platforms);
  });

  it('answers for what it does not have in one sentence', async () => {
    await push(first, named(`${registry.host}/team/os:v1`), options);
    const resolve = async (name: string): Promise<void> => {
      await using source = openImageSource(named(name), options);
      await source.resolve(AMD64);
    };
    await fails(
      resolve(`${registry.host}/team/os:nope`),
      'NotFound',
      /has no image team\/os with tag nope: check the name and the tag/,
    );
    await fails(resolve(`${registry.host}/no/such:v1`), 'NotFound', /has no image no\/such with tag v1/);
    await fails(
      resolve(`${registry.host}/team/os@${second.digest}`),
      'NotFound',
      /has no image team\/os with digest sha256:/,
    );
  });

  it('that is killed and comes back in the middle of a blob does not stop the transfer', async () => {
    const storage = join(directory, 'restarted');
    const big = sampleImage({ layer: randomBytes(60_000_000) });
    let server = await startRegistry({ storage });
    try {
      const restartOptions = { plainHttpHosts: [server.host], retry: { attempts: 20, maxDelayMs: 200 } };
      const name = named(`${server.host}/os:v1`);
      await push(big, name, restartOptions);
      await using source = openImageSource(name, restartOptions);
      const { manifest } = await source.resolve(AMD64);
      let received = 0;
      let killed = false;
      const hash: Buffer[] = [];
      for await (const chunk of source.openBlob(manifest.layers[0]!)) {
        hash.push(chunk);
        received += chunk.length;
        if (!killed && received > 10_000_000) {
          killed = true;
          await server.kill();
          server = await startRegistry({ storage, port: server.port });
        }
      }
      assert.equal(received, 60_000_000);
      assert.equal(digestOf(Buffer.concat(hash)), big.layer.digest);
    } finally {
      await server.stop();
    }
  });
});

describe('a registry with passwords', () => {
  let registry: TestRegistry;
  before(async () => {
    registry = await startRegistry({ storage: join(directory, 'basic'), users: { ann: 'correct horse', bob: 'x' } });
  });
  after(() => registry.stop());

  const optionsFor = (username: string, password: string): RegistryOptions => ({
    plainHttpHosts: [registry.host],
    credentials: parseDockerConfig(
      JSON.stringify({
        auths: { [registry.host]: { auth: Buffer.from(`${username}:${password}`).toString('base64') } },
      }),
    ),
  });

  it('lets us push and pull with the right one, and skopeo reads the same file', async () => {
    const options = optionsFor('ann', 'correct horse');
    const name = `${registry.host}/private/os:v1`;
    assert.equal(await push(first, named(name), options), first.digest);
    await using source = openImageSource(named(name), options);
    const image = await source.resolve(AMD64);
    assert.deepEqual(await readLayers(source, image.manifest.layers), [first.layer.digest]);
    const authFile = join(directory, 'auth.json');
    const auth = Buffer.from('ann:correct horse').toString('base64');
    await writeFile(authFile, JSON.stringify({ auths: { [registry.host]: { auth } } }));
    const inspected = await skopeo('inspect', '--tls-verify=false', '--authfile', authFile, `docker://${name}`);
    assert.match(inspected, new RegExp(first.digest));
  });

  it('refuses the wrong one, or none, in one sentence and without sending the request again and again', async () => {
    const name = named(`${registry.host}/private/os:v1`);
    const resolve = async (options: RegistryOptions): Promise<void> => {
      await using source = openImageSource(name, options);
      await source.resolve(AMD64);
    };
    await fails(
      resolve(optionsFor('ann', 'wrong')),
      'Unauthorized',
      /refuses the configured credentials of user "ann" to pull/,
    );
    await fails(
      resolve({ plainHttpHosts: [registry.host] }),
      'Unauthorized',
      /none are configured for it: add an "auths" entry/,
    );
    await fails(push(first, name, optionsFor('ann', 'wrong')), 'Unauthorized', /user "ann" to push/);
  });
});

describe('a registry with TLS', () => {
  it('is trusted through the given certificate authority and through nothing else', async () => {
    const tls = join(directory, 'tls');
    await mkdir(tls);
    const [certificateFile, keyFile] = [join(tls, 'certificate.pem'), join(tls, 'key.pem')];
    const request = '-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=treeline';
    const names = ['-addext', 'subjectAltName=IP:127.0.0.1', '-out', certificateFile, '-keyout', keyFile];
    await run('openssl', ['req', ...request.split(' '), ...names]);
    await using registry = await startRegistry({
      storage: join(directory, 'secure'),
      tls: { certificateFile, keyFile },
    });
    const name = named(`${registry.host}/os:v1`);
    const options = { certificateAuthority: await readFile(certificateFile, 'utf8') };
    assert.equal(await push(first, name, options), first.digest);
    await using source = openImageSource(name, options);
    assert.equal((await source.resolve(AMD64)).digest, first.digest);
    await using distrustful = openImageSource(name);
    await fails(
      distrustful.resolve(AMD64),
      'UntrustedCertificate',
      /is not trusted .*: configure its certificate authority/,
    );
    await using plain = await startRegistry({ storage: join(directory, 'plain') });
    await using mistaken = openImageSource(named(`${plain.host}/os:v1`));
    await fails(mistaken.resolve(AMD64), 'UntrustedCertificate', /does not speak TLS: list it as a plain HTTP host/);
  });
});

describe('image layouts', () => {
  it('of ours are read by skopeo, and those of skopeo by us', async () => {
    for (const transport of ['oci', 'oci-archive']) {
      const ours = `${transport}:${directory}/ours-${transport}:v1`;
      assert.equal(await push(first, named(ours), {}), first.digest);
      assert.equal((JSON.parse(await skopeo('inspect', ours)) as { Digest: string }).Digest, first.digest);
      const theirs = `${transport}:${directory}/theirs-${transport}:v2`;
      await skopeo('copy', '-q', ours, theirs);
      for (const name of [theirs, theirs.replace(/:v2$/, '')]) {
        await using source = openImageSource(named(name));
        const image = await source.resolve(AMD64);
        assert.equal(image.digest, first.digest);
        assert.deepEqual(await readLayers(source, image.manifest.layers), [first.layer.digest]);
      }
    }
  });

  it('are read from any tar that GNU tar makes of a layout', async () => {
    await push(first, named(`oci:${directory}/plain-layout`), {});
    for (const format of ['gnu', 'pax', 'ustar', 'oldgnu']) {
      const archive = join(directory, `${format}.tar`);
      await run('tar', [`--format=${format}`, '-C', join(directory, 'plain-layout'), '-cf', archive, '.']);
      await using source = openImageSource(named(`oci-archive:${archive}`));
      const image = await source.resolve(AMD64);
      assert.equal(image.digest, first.digest);
      assert.deepEqual(await readLayers(source, image.manifest.layers), [first.layer.digest]);
    }
  });
});
