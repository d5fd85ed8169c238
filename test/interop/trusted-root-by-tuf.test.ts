/** How docs/tasks/verify-images.md has a trusted root renewed: by cosign, from a TUF repository; and that nothing else comes of it. */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { simpleSignature } from '../../testbed/signed-image.ts';
import { StandInLog } from '../../testbed/transparency-log.ts';
import { TufRepository } from '../../testbed/tuf-repository.ts';
import { say } from './cli-bench.ts';
import { SignatureBench } from './signature-fixture.ts';

const TARGET = 'trusted_root.json';

describe('a trusted root from a TUF repository', () => {
  let bench: SignatureBench;
  let repository: TufRepository;
  before(async () => {
    bench = await SignatureBench.start();
    repository = await TufRepository.start();
  });
  after(async () => {
    await repository[Symbol.asyncDispose]();
    await bench[Symbol.asyncDispose]();
  });

  /** The file that cosign has verified and keeps. */
  async function fetched(): Promise<string> {
    const home = await mkdtemp(join(bench.folder, 'home-'));
    const root = join(home, 'root.json');
    await writeFile(root, repository.root());
    bench.environment['HOME'] = home;
    await bench.cosign('initialize', '--mirror', repository.url, '--root', root);
    const folder = repository.url.replace('http://', '').replace(':', '-');
    return join(home, '.sigstore/root', folder, 'targets', TARGET);
  }

  it('is what signatures are judged by from then on, and is not taken when the mirror changes it', async () => {
    const [key, image] = [await bench.key(), await bench.push()];
    const signature = simpleSignature(await readFile(key.plain, 'utf8'), {
      dockerReference: image.name,
      digest: image.digest,
    });
    const [before, since] = [new StandInLog(), new StandInLog()];
    await bench.attach(image, { ...signature, rekorBundle: since.promise(signature, key.publicPem) });
    const verified = async (root: string) => {
      const flags = [`--plain-http=${bench.registry.host}`, '--key', key.public, '--transparency-log', root];
      return say(['verify', ...flags, `${image.name}@${image.digest}`], { environment: bench.environment });
    };

    repository.publish(TARGET, before.trustedRoot());
    const old = await fetched();
    assert.equal(await readFile(old, 'utf8'), before.trustedRoot());
    const refused = await verified(old);
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /no transparency log that is believed has seen it/);

    const path = repository.publish(TARGET, since.trustedRoot());
    const renewed = await verified(await fetched());
    assert.equal(renewed.status, 0, renewed.stderr);

    repository.files.set(path, Buffer.from(before.trustedRoot()));
    await assert.rejects(fetched());
  });
});
