/** How likely a component is to be another one in the next build of the OS. */
import { type Component, MAX_FREQUENCY } from './component.ts';

/** An OS that is built each month. Only how rates compare matters much, not what a build is. */
const BUILDS_PER_YEAR = 12;
/** Changes per year that are added to what is known: a year is short, and what was quiet in it need not stay so. */
const UNSEEN_RATE = 1;
/** Of what is said to change with every build: it does not always, and is worth a layer of its own. */
const ALWAYS = 0.9;

/** Updates of a package within a Debian release: the number after `deb12u` or `+deb12u`. Source: Debian developers' reference, 5.8. */
const STABLE_UPDATE = /deb\d+u(\d+)/;

/** A probability between 0 and 1, neither of them included. */
export function changeProbability({ changeFrequency, version }: Component): number {
  if (changeFrequency === MAX_FREQUENCY) return ALWAYS;
  const updates = Number(STABLE_UPDATE.exec(version ?? '')?.[1] ?? 0);
  const rate = Math.max(changeFrequency, updates) + UNSEEN_RATE;
  return Math.min(ALWAYS, 1 - Math.exp(-rate / BUILDS_PER_YEAR));
}
