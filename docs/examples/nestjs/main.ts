// NestJS on Express.
// npm install clustered-redis-store express-session redis reflect-metadata rxjs \
//   @nestjs/common @nestjs/core @nestjs/platform-express
import "reflect-metadata";
import {
  Body,
  Controller,
  Get,
  HttpCode,
  Module,
  Post,
  Req,
  Session,
  UnauthorizedException,
} from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import type { Request } from "express";
import type { Session as ExpressSession } from "express-session";
import { SessionsModule } from "./sessions.module.js";

type UserSession = ExpressSession & { user?: string; visits?: number };

/** Sessions take callbacks. */
function promised(call: (done: (error: unknown) => void) => unknown) {
  return new Promise<void>((resolve, reject) => {
    call((error) => (error ? reject(error) : resolve()));
  });
}

@Controller()
class AccountController {
  @Post("login")
  @HttpCode(200)
  async login(@Req() request: Request & { session: UserSession }, @Body() body: { user: string }) {
    // A new id at login, and with it a new session object in the request.
    await promised((done) => request.session.regenerate(done));
    request.session.user = body.user;
    return { user: body.user };
  }

  @Get("me")
  me(@Session() session: UserSession) {
    if (session.user === undefined) throw new UnauthorizedException();
    return { user: session.user, visits: session.visits ?? 0 };
  }

  @Post("visit")
  @HttpCode(200)
  visit(@Session() session: UserSession) {
    if (session.user === undefined) throw new UnauthorizedException();
    session.visits = (session.visits ?? 0) + 1;
    return { visits: session.visits };
  }

  @Post("logout")
  @HttpCode(200)
  async logout(@Session() session: UserSession) {
    await promised((done) => session.destroy(done));
    return {};
  }
}

@Module({ imports: [SessionsModule], controllers: [AccountController] })
class AppModule {}

const app = await NestFactory.create(AppModule, { logger: ["error", "warn"] });
app.enableShutdownHooks(); // SIGTERM closes the app, and with it the store
await app.listen(process.env.PORT ?? 3000);
console.log(`listening on ${await app.getUrl()}`);
