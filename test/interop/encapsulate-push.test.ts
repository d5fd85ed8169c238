import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { contentOfCommit } from '../../ostree/encapsulate/commit-content.ts';
import { encapsulate } from '../../ostree/index.ts';
import { openImageDestination, parseImageReference } from '../../registry/index.ts';
import { startCutConnection } from '../../testbed/cut-connection.ts';
import { startRegistry, type TestRegistry } from '../../testbed/registry.ts';
import { ensurePeer, sayOnStandardError } from '../../tools/setup/index.ts';
import { PLATFORM, repositoryOf, requirePeerImports, skopeo } from './encapsulate-fixture.ts';
import { EVERYTHING, MINI_METADATA } from './ostree-fixture.ts';

/** Hardly compresses, and takes several pieces. */
const NOISE = Buffer.concat(
  Array.from({ length: 1_500_000 }, (_, at) => createHash('sha256').update(`noise ${at}`).digest()),
);

describe('an image is pushed to a real registry', function () {
  this.timeout(600_000);
  let source: Awaited<ReturnType<typeof repositoryOf>>;
  let registry: TestRegistry;
  let peer: string;

  before(async () => {
    peer = await ensurePeer(sayOnStandardError);
    source = await repositoryOf({ ...EVERYTHING, 'usr/lib/noise': { content: NOISE } }, { metadata: MINI_METADATA });
    registry = await startRegistry({ storage: join(source.path, 'registry') });
  });
  after(async () => {
    await registry.stop();
    source[Symbol.dispose]();
  });

  async function push(image: string, host: string, previous?: string, onProgress?: (share: number) => void) {
    const { repository } = source;
    await using destination = openImageDestination(parseImageReference(`docker://${image}`), {
      plainHttpHosts: [host],
      ...(previous !== undefined && { mountFrom: [parseImageReference(`docker://${previous}`)] }),
    });
    const objects = [...contentOfCommit(repository, source.commit).keys()];
    const chunks = [{ name: 'everything', components: ['all'], objects }];
    return await encapsulate({
      repository,
      rev: 'os',
      destination,
      platform: PLATFORM,
      chunks,
      compression: 'fast',
      onProgress: ({ bytesWritten }) => onProgress?.(bytesWritten / NOISE.length),
    });
  }

  /** Has skopeo take it from there, and the peer import that. */
  function requireReadable(name: string, digest: string): void {
    const back = join(source.path, name);
    skopeo('copy', '--quiet', '--src-tls-verify=false', `docker://${registry.host}/${name}`, `oci:${back}:v1`);
    assert.equal(skopeo('inspect', '--format={{.Digest}}', `oci:${back}:v1`).trim(), digest);
    requirePeerImports(peer, back, join(source.path, `${name}-imported`), source.commit);
  }

  it('in pieces, although the connection breaks on the way', async () => {
    await using line = await startCutConnection(registry.port);
    const host = `127.0.0.1:${line.port}`;
    let cuts = 0;
    const { manifestDigest } = await push(`${host}/broken`, host, undefined, (share) => {
      if (share < 0.7 || cuts > 0) return;
      cuts++;
      line.cut();
      setTimeout(() => line.heal(), 100);
    });
    assert.equal(cuts, 1);
    requireReadable('broken', manifestDigest);
  });

  it('and then linked from one repository into another, without being sent again', async () => {
    const first = await push(`${registry.host}/first`, registry.host);
    const shares: number[] = [];
    const [target, previous] = [`${registry.host}/second`, `${registry.host}/first`];
    const second = await push(target, registry.host, previous, (share) => shares.push(share));
    assert.equal(second.manifestDigest, first.manifestDigest);
    assert.equal(Math.max(...shares), 0, 'no layer is read for it');
    requireReadable('second', second.manifestDigest);
  });
});
