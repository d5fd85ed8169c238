/** What cosign signed at the origin, cosign verifies at the copy: both of its formats, through a directory. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { startRegistry } from '../../testbed/registry.ts';
import { say } from './cli-bench.ts';
import { SignatureBench } from './signature-fixture.ts';

describe('a mirrored image', () => {
  let bench: SignatureBench;
  before(async () => {
    bench = await SignatureBench.start();
  });
  after(() => bench[Symbol.asyncDispose]());

  for (const format of ['simple-signing', 'bundle'] as const) {
    it(`is as good as the original for cosign, signed in the format ${format}`, async () => {
      await using second = await startRegistry({ storage: join(bench.folder, `second-${format}`) });
      const [key, other, image] = [await bench.key(), await bench.key(), await bench.push()];
      await bench.cosignSign(`${image.name}@${image.digest}`, key.sealed, format);
      const disk = `oci:${join(bench.folder, `disk-${format}`)}`;
      for (const words of [
        [`${image.name}:1`, disk],
        [disk, `${second.host}/`],
      ]) {
        const flags = [`--plain-http=${bench.registry.host}`, `--plain-http=${second.host}`, '--output=json'];
        const said = await say(['mirror', ...flags, ...words]);
        assert.equal(said.status, 0, said.stderr);
        const { images } = JSON.parse(said.stdout) as { images: { digest: string; attachments: number }[] };
        assert.deepEqual(
          images.map(({ digest, attachments }) => [digest, attachments > 0]),
          [[image.digest, true]],
        );
      }
      const copy = `${image.name.replace(bench.registry.host, second.host)}@${image.digest}`;
      await bench.cosignVerify(copy, key.public);
      await assert.rejects(bench.cosignVerify(copy, other.public));
    });
  }
});
