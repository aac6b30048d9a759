// NestJS on Express.
// npm install clustered-redis-store express-session redis reflect-metadata rxjs \
//   @nestjs/common @nestjs/core @nestjs/platform-express
// npm install --save-dev typescript tsx @types/express @types/express-session @types/node
// npm pkg set type=module && npx tsx main.ts
import "reflect-metadata";
import {
  BadRequestException,
  Body,
  Controller,
  Get,
  HttpCode,
  Module,
  Post,
  Req,
  Res,
  Session,
  UnauthorizedException,
} from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import type { NestExpressApplication } from "@nestjs/platform-express";
import type { Request, Response } from "express";
import type { Session as ExpressSession } from "express-session";
import { SessionsModule } from "./sessions.module.js";

type UserSession = ExpressSession & { user?: string; visits?: number };

/** The methods of sessions take callbacks. */
function promised(call: (done: (error: unknown) => void) => unknown) {
  return new Promise<void>((resolve, reject) => {
    call((error) => (error ? reject(error) : resolve()));
  });
}

@Controller()
class AccountController {
  @Post("login")
  @HttpCode(200)
  async login(@Req() request: Request & { session: UserSession }, @Body() body?: { user?: unknown }) {
    const user = body?.user;
    if (typeof user !== "string" || user === "") throw new BadRequestException("user is missing");
    // A new id at login, and a new session object in the request.
    await promised((done) => request.session.regenerate(done));
    request.session.user = user; // after you have checked a password
    return { user };
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
  async logout(@Session() session: UserSession, @Res({ passthrough: true }) response: Response) {
    await promised((done) => session.destroy(done));
    response.clearCookie("connect.sid");
    return {};
  }
}

@Module({ imports: [SessionsModule], controllers: [AccountController] })
class AppModule {}

const app = await NestFactory.create<NestExpressApplication>(AppModule, { logger: ["error", "warn"] });
// Behind a proxy that ends TLS: app.set("trust proxy", 1);
app.enableShutdownHooks(); // SIGTERM closes the app, which closes the store
await app.listen(process.env.PORT ?? 3000);
console.log(`listening on ${await app.getUrl()}`);
