import type { Clock } from '../clock';
import { InternError } from '../errors';
import type { GatewayClient, GatewayModel } from '../ollama/gateway';
import { productName } from '../ollama/wireErrors';
import { ask } from '../routing/deadline';
import { type ModelInfo, Remembered, withNames } from './catalogue';

/** A gateway need not list its models. */
const NO_LIST = [404, 405, 501];

/** A gateway's models, remembered for an hour. A model that is not listed may be there all the same. */
export class GatewayCatalogue {
  readonly #client: GatewayClient;
  readonly #clock: Clock;
  readonly #models: Remembered<GatewayModel[]>;

  constructor(client: GatewayClient, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
    this.#models = new Remembered(clock);
  }

  /** Forgets everything: for another server, or because a person asked. */
  refresh(): void {
    this.#models.clear();
  }

  /** The models that the gateway lists; none when it has no list. */
  list(signal?: AbortSignal): Promise<GatewayModel[]> {
    return this.#models.get('', () => this.#ask(), signal);
  }

  async info(model: string, signal?: AbortSignal): Promise<ModelInfo> {
    const models = await this.list(signal);
    // A server of one model answers to any name.
    const found = models.find(({ id }) => id === model) ?? (models.length === 1 ? models[0] : null);
    return {
      name: model,
      capabilities: ['completion'],
      contextLength: found?.contextLength,
      parameters: undefined,
      remote: true,
    };
  }

  /** Up to eight names that exist, for an error about one that does not. */
  async explainMissing(error: InternError): Promise<InternError> {
    this.refresh();
    const models = await this.list().catch(() => []);
    return withNames(
      error,
      'Available',
      models.map(({ id }) => id),
    );
  }

  async #ask(): Promise<GatewayModel[]> {
    const client = this.#client;
    const server = productName({ baseUrl: client.baseUrl, backend: 'gateway' });
    try {
      return await ask(this.#clock, (signal) => client.models(signal), undefined, server);
    } catch (error) {
      if (error instanceof InternError && NO_LIST.includes(error.details.status ?? 0)) return [];
      throw error;
    }
  }
}
