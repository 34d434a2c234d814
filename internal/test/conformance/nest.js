// A server of the kind that Gamma's rate-limit headers suggest: NestJS with
// @nestjs/throttler. Its only argument is JSON:
//
//	limits  throttlers as ThrottlerModule takes them; none: no rate limit
//	shared  whether all operations count together; false, the default, is the library's
//	finish  after how many milliseconds a generation is completed
//	port    where to listen; 0, the default, is any
//
// It writes lines of JSON to its output: {url}, then one per request. What it knows of a
// generation is in its id, so that a restart loses nothing except the counts of the limits.
// It ends with its standard input.
'use strict';
require('reflect-metadata');
const { Body, Controller, Get, HttpCode, Module, NotFoundException, Param, Post, UnauthorizedException } = require('@nestjs/common');
const { APP_GUARD, NestFactory } = require('@nestjs/core');
const { ThrottlerGuard, ThrottlerModule } = require('@nestjs/throttler');

const options = { limits: [], shared: false, finish: 0, port: 0, ...JSON.parse(process.argv[2]) };
const write = (line) => process.stdout.write(JSON.stringify(line) + '\n');
let generations = 0;

class KeyGuard {
  canActivate(context) {
    const req = context.switchToHttp().getRequest();
    if (!req.headers['x-api-key']?.startsWith('sk-gamma-')) throw new UnauthorizedException('Invalid API key.');
    return true;
  }
}

class Generations {
  create(body) {
    return { generationId: `${Date.now()}-${process.pid}-${++generations}`, warnings: null };
  }

  status(id) {
    const [created] = id.split('-');
    if (!/^\d+-\d+-\d+$/.test(id)) throw new NotFoundException(`Generation ID not found. generationId: ${id}`);
    if (Date.now() < Number(created) + options.finish) return { generationId: id, status: 'pending' };
    return { generationId: id, status: 'completed', gammaId: `g_${id}`, gammaUrl: `https://gamma.app/docs/${id}`, credits: { deducted: 1, remaining: 1 } };
  }
}

class Themes {
  list() {
    return { data: [{ id: 't1', name: 'Ash', type: 'standard' }], hasMore: false, nextCursor: null };
  }
}

class App {}

// What TypeScript's decorators would do.
function handle(controller, path, method, ...decorators) {
  Controller(path)(controller);
  const descriptor = Object.getOwnPropertyDescriptor(controller.prototype, method);
  for (const decorate of decorators) decorate(controller.prototype, method, descriptor);
}
Body()(Generations.prototype, 'create', 0);
Param('id')(Generations.prototype, 'status', 0);
handle(Generations, 'v1.0/generations', 'create', Post(), HttpCode(200));
handle(Generations, 'v1.0/generations', 'status', Get(':id'));
handle(Themes, 'v1.0/themes', 'list', Get());
Module({
  imports: [ThrottlerModule.forRoot({
    throttlers: options.limits,
    getTracker: (req) => req.headers['x-api-key'],
    ...options.shared && { generateKey: (_, tracker, name) => `${name} ${tracker}` },
  })],
  controllers: [Generations, Themes],
  providers: [{ provide: APP_GUARD, useClass: KeyGuard }, { provide: APP_GUARD, useClass: ThrottlerGuard }],
})(App);

async function main() {
  const app = await NestFactory.create(App, { logger: ['error'] });
  app.use((req, res, next) => {
    res.on('finish', () => write({ method: req.method, path: req.path, text: req.body?.inputText, status: res.statusCode }));
    next();
  });
  process.stdin.on('end', () => process.exit()).resume();
  await app.listen(options.port, '127.0.0.1');
  write({ url: await app.getUrl() });
}

main();
