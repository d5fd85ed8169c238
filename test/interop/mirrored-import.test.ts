/** A pull survives its mirrors: what one of them lacks, cuts or falsifies comes from the next place. */
import assert from 'node:assert/strict';
import { readFile, rm } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { pullImage, Repository } from '../../ostree/index.ts';
import { openImageSource, parseOstreeImageReference } from '../../registry/index.ts';
import { parseRegistriesConf } from '../../registry/registries-conf.ts';
import { serve } from '../unit/registry/loopback-server.ts';
import { answerFrom } from '../unit/registry/sample-image.ts';
import {
  blobPath,
  contentOf,
  encapsulate,
  fsck,
  makeFolder,
  makeSystem,
  type OciManifest,
  PLATFORM,
  pull,
  readLayout,
} from './import-fixture.ts';

describe('an import through mirrors', () => {
  let folder: string;
  let manifest: OciManifest;
  let content: string;
  let answer: (path: string, response: ServerResponse) => void;

  before(async () => {
    folder = await makeFolder();
    const layout = await encapsulate(await makeSystem(folder), folder, true);
    ({ manifest } = await readLayout(layout));
    const index = JSON.parse(await readFile(join(layout, 'index.json'), 'utf8')) as { manifests: { digest: string }[] };
    const bytes = await readFile(blobPath(layout, index.manifests[0]!.digest));
    const blobs = new Map<string, Buffer>();
    for (const { digest } of [manifest.config, ...manifest.layers])
      blobs.set(digest, await readFile(blobPath(layout, digest)));
    answer = answerFrom({ v1: { bytes } }, blobs);
    const path = join(folder, 'straight');
    content = await contentOf(path, (await pull(path, layout)).mergeCommit);
  });
  after(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  type Fault = (request: IncomingMessage, response: ServerResponse, size: number) => void;
  const faults: Readonly<Record<string, Fault>> = {
    'lack a layer': (_request, response) => response.writeHead(404).end(),
    'cut a layer short, again and again': (_request, response, size) => {
      response.writeHead(200, { 'content-length': size });
      response.write(Buffer.alloc(0), () => setImmediate(() => response.destroy()));
    },
    'give other bytes': (_request, response, size) => response.end(Buffer.alloc(size, 'other')),
  };
  for (const [name, fault] of Object.entries(faults)) {
    it(`has the right content when two of them ${name}`, async () => {
      const faulty = (wrong: number) =>
        serve((request, response) => {
          const layer = manifest.layers.find(({ digest }) => request.url?.includes(digest) === true);
          if (layer !== undefined && manifest.layers.indexOf(layer) % 2 === wrong) fault(request, response, layer.size);
          else answer(request.url ?? '', response);
        });
      await using first = await faulty(0);
      await using second = await faulty(1);
      await using primary = await serve((request, response) => answer(request.url ?? '', response));
      const text = `[[registry]]\nprefix="os.invalid"\nlocation="${primary.host}"\n[[registry.mirror]]\nlocation="${first.host}"\n[[registry.mirror]]\nlocation="${second.host}"`;
      const warnings: string[] = [];
      const reference = parseOstreeImageReference('ostree-unverified-registry:os.invalid/os:v1');
      await using source = openImageSource(reference.image, {
        registries: parseRegistriesConf([{ path: 'registries.conf', text }]),
        plainHttpHosts: [first.host, second.host, primary.host],
        onWarning: (message) => warnings.push(message),
        retry: { baseDelayMs: 1 },
      });
      const path = join(folder, name.replaceAll(/\W/g, '-'));
      const repository = Repository.create(path, 'bare');
      const pulled = await pullImage({ repository, source, reference, platform: PLATFORM });
      assert.equal(await contentOf(path, pulled.mergeCommit), content);
      await fsck(path);
      assert.ok(warnings.length > 0 && warnings.every((warning) => warning.startsWith('the mirror 127.0.0.1:')));
    });
  }
});
