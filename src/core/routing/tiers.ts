/** The shapes of jobs. A job has one; nobody else chooses it. */
export const TIERS = ['instant', 'workhorse', 'deep', 'embed'] as const;
export type Tier = (typeof TIERS)[number];

/** The tiers that write text. */
export const GENERATIVE_TIERS = ['instant', 'workhorse', 'deep'] as const;
export type GenerativeTier = (typeof GENERATIVE_TIERS)[number];

/** Milliseconds that a tier allows on the local backend, once the model is resident. Source: the product's tier table. */
export const LOCAL_BUDGET_MS: Readonly<Record<Tier, number>> = {
  instant: 5_000,
  workhorse: 20_000,
  deep: 90_000,
  embed: 10_000,
};

const DEGRADES_TO: Readonly<Partial<Record<Tier, GenerativeTier>>> = {
  deep: 'workhorse',
  workhorse: 'instant',
};

/** What a tier degrades to, in order. */
export function degradation(tier: Tier): GenerativeTier[] {
  const next = DEGRADES_TO[tier];
  return next ? [next, ...degradation(next)] : [];
}
