/** What is published as a container image can be made again by whoever doubts it. */
import assert from 'node:assert/strict';
import { buildContainerImageAfresh } from '../../testbed/nodes/container-image.ts';

describe('the container image', function () {
  this.timeout(900_000);

  it('is the same to the byte when it is built again from its base and packages', async () => {
    const digest = await buildContainerImageAfresh(() => undefined, 'once');
    assert.match(digest, /^sha256:[0-9a-f]{64}$/);
    assert.equal(await buildContainerImageAfresh(() => undefined, 'again'), digest);
  });
});
