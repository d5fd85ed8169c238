import assert from 'node:assert/strict';
import { ServerClock } from '../../../node-agent/kube/server-clock.ts';

describe("The API server's clock", () => {
  const date = 'Thu, 01 Jan 2026 12:00:00 GMT';
  const at = Date.parse(date);

  it('tells how far the node is ahead or behind, and carries on between answers', () => {
    const readings = { now: at + 5000, steady: 0 };
    const clock = new ServerClock({ now: () => readings.now, steady: () => readings.steady });
    assert.equal(clock.skewMs(), undefined);
    clock.observe(date);
    assert.equal(clock.skewMs(), 5000);
    readings.now += 60_000;
    readings.steady += 60_000;
    assert.equal(clock.skewMs(), 5000);
  });

  it('shows a step of the node’s clock while the API server is out of reach', () => {
    const readings = { now: at, steady: 0 };
    const clock = new ServerClock({ now: () => readings.now, steady: () => readings.steady });
    clock.observe(date);
    readings.now -= 7_200_000;
    assert.equal(clock.skewMs(), -7_200_000);
  });

  it('is not told by a header that is missing or malformed', () => {
    const clock = new ServerClock();
    for (const value of [undefined, 'soon', [date]]) clock.observe(value);
    assert.equal(clock.skewMs(), undefined);
  });
});
