/** What a layer costs a node in each update, in expectation. */

/** Directories that a layer repeats, its request, its line in the manifest: bytes, measured on empty layers. */
const LAYER_BYTES = 4096;

/** The sum of what a layer holds. */
export interface LayerContent {
  /** Bytes. */
  readonly size: number;
  /** Sum of the negative logarithms of the probabilities that a unit stays as it is. */
  readonly unrest: number;
}

export interface Changing {
  readonly size: number;
  readonly probability: number;
}

export const EMPTY: LayerContent = { size: 0, unrest: 0 };

/** The content with one unit more. */
export function plus({ size, unrest }: LayerContent, unit: Changing): LayerContent {
  return { size: size + unit.size, unrest: unrest + unrestOf(unit.probability) };
}

export function minus({ size, unrest }: LayerContent, unit: Changing): LayerContent {
  return { size: size - unit.size, unrest: Math.max(0, unrest - unrestOf(unit.probability)) };
}

export function contentOf(units: readonly Changing[]): LayerContent {
  return units.reduce(plus, EMPTY);
}

/** Bytes in an average update: a layer is fetched whole as soon as one unit in it has changed. */
export function expectedBytes(content: LayerContent): number {
  return content.size === 0 ? 0 : (content.size + LAYER_BYTES) * changeProbabilityOf(content);
}

/** That anything in the layer changes. */
export function changeProbabilityOf({ unrest }: LayerContent): number {
  return -Math.expm1(-unrest);
}

function unrestOf(probability: number): number {
  return -Math.log1p(-probability);
}
