/** Tests that go a way together, each from where the one before has ended. */

/**
 * Has the tests of this suite skipped once one of them has failed. Not `bail`: with it, mocha ends all files that run at the same
 * time, and does not tell how they went. Call it in the suite, before its other hooks.
 */
export function oneAfterTheOther(): void {
  beforeEach(function skipAfterFailure() {
    if (this.currentTest?.parent?.tests.some(({ state }) => state === 'failed') === true) this.skip();
  });
}
