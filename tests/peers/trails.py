"""Invented chains in the format of each program, oldest hop last as in a message: names of example domains, addresses
of documentation networks. CHAINS: name -> bodies, newest first. All of them are consistent. Dns: a Lookup for them."""

from ipaddress import ip_address

from fastrelay.trail.hop import Address


class Dns:
    """forward: name -> addresses, a space between; reverse: address -> name."""

    def __init__(self, forward: dict[str, str] | None = None, reverse: dict[str, str] | None = None) -> None:
        self.forward, self.reverse = forward or {}, reverse or {}

    def addresses(self, name: str, /) -> tuple[Address, ...]:
        return tuple(ip_address(one) for one in self.forward.get(name, "").split())

    def name(self, address: Address, /) -> str:
        return self.reverse.get(str(address), "")


CHAINS: dict[str, list[str]] = {
    "postfix": [
        "from mx.example.net (mx.example.net [203.0.113.7]) by mail.example.com (Postfix) with ESMTPS id 4A1B2C3D4E"
        " for <b@example.com>; Wed, 25 Nov 2026 12:00:12 +0000 (UTC)",
        "from pc.lan (unknown [192.168.1.20]) by mx.example.net (Postfix) with ESMTPSA id 5B2C3D4E5F"
        " for <b@example.com>; Wed, 25 Nov 2026 12:00:10 +0000 (UTC)",
    ],
    "exim": [
        "from out.example.net ([203.0.113.8] helo=mta3.example.net) by mx.example.com with esmtps"
        " (TLS1.3) tls TLS_AES_256_GCM_SHA384 (Exim 4.96) (envelope-from <a@example.net>) id 1qZ9aB-000123-0K"
        " for b@example.com; Thu, 24 Aug 2023 11:58:11 +0000",
        "from [192.0.2.44] (helo=[10.0.0.9]) by mta3.example.net with esmtpsa (Exim 4.96) id 1qZ9a9-000120-2F;"
        " Thu, 24 Aug 2023 11:58:09 +0000",
    ],
    "sendmail": [
        "from relay.example.org (relay.example.org [198.51.100.3]) by mx.example.com (8.14.4/8.14.4) with ESMTP"
        " id o5Q0qPCF006767 for <b@example.com>; Fri, 25 Jun 2010 18:52:26 -0600",
        "(from www@localhost) by relay.example.org (8.14.4/8.14.4/Submit) id o5Q0qOaB006760; Fri, 25 Jun 2010"
        " 18:52:24 -0600",
    ],
    "qmail": [
        "(qmail 4415 invoked by uid 89); 4 Sep 2002 10:36:33 -0000",
        "(qmail 4411 invoked from network); 4 Sep 2002 10:36:32 -0000",
        "from unknown (HELO mail.example.net) (203.0.113.9) by mx.example.com with SMTP; 4 Sep 2002 10:36:32 -0000",
        "(qmail 99 invoked by uid 0); 4 Sep 2002 10:36:30 -0000",
    ],
    "exchange online": [
        "from AM9PR01CA0001.eurprd01.prod.exchangelabs.com (2001:db8:a::6) by GVXPR08MB1044.eurprd08.prod.outlook.com"
        " (2001:db8:b::17) with Microsoft SMTP Server (version=TLS1_2, cipher=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384)"
        " id 15.20.8632.22; Fri, 11 Apr 2025 11:08:24 +0000",
        "from DB1PEPF000509E8.eurprd03.prod.outlook.com (2001:db8:a:cafe::b3) by AM9PR01CA0001.outlook.office365.com"
        " (2001:db8:a::6) with Microsoft SMTP Server (version=TLS1_3, cipher=TLS_AES_256_GCM_SHA384)"
        " id 15.20.8632.26 via Frontend Transport; Fri, 11 Apr 2025 11:08:19 +0000",
        "from mail.example.net (203.0.113.5) by DB1PEPF000509E8.mail.protection.outlook.com (10.167.242.58)"
        " with Microsoft SMTP Server (version=TLS1_3, cipher=TLS_AES_256_GCM_SHA384) id 15.20.8632.13"
        " via Frontend Transport; Fri, 11 Apr 2025 11:08:18 +0000",
        "from EX02.example.net (10.1.2.3) by mail.example.net (10.1.2.4) with Microsoft SMTP Server"
        " (version=TLS1_2, cipher=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256) id 15.1.2507.34; Fri, 11 Apr 2025"
        " 12:08:16 +0100",
        "from EX02.example.net ([fe80::1c2d:3e4f]) by EX02.example.net ([fe80::1c2d:3e4f%4]) with mapi"
        " id 15.01.2507.034; Fri, 11 Apr 2025 12:08:16 +0100",
    ],
    "gmail": [
        "by 2002:a05:6402:1a4f:0:0:0:1 with SMTP id x15csp1234567edz; Tue, 3 Mar 2020 10:10:12 -0800 (PST)",
        "from out.example.net (out.example.net. [203.0.113.30]) by mx.google.com with ESMTPS"
        " id z129-v6si8080952wmg.157.2020.03.03.10.10.11 for <b@example.com>"
        " (version=TLS1_2 cipher=ECDHE-RSA-AES128-GCM-SHA256 bits=128/128); Tue, 03 Mar 2020 10:10:11 -0800 (PST)",
        "from app.example.net (localhost [127.0.0.1]) by out.example.net (Postfix) with ESMTP id 9F12A3B4C5;"
        " Tue,  3 Mar 2020 18:10:10 +0000 (UTC)",
    ],
    "opensmtpd": [
        "from smtp.example.org (smtp.example.org [198.51.100.20]) by mx.example.com (OpenSMTPD) with ESMTPS"
        " id 5a6b7c8d (TLSv1.3:TLS_AES_256_GCM_SHA384:256:NO) for <b@example.com>; Wed, 25 Nov 2026 13:00:02 +0100",
        "from laptop (<unknown> [192.0.2.77]) by smtp.example.org (OpenSMTPD) with ESMTPSA id 1f2e3d4c"
        " (TLSv1.3:TLS_AES_256_GCM_SHA384:256:NO) auth=yes user=anna; Wed, 25 Nov 2026 13:00:00 +0100 (CET)",
    ],
    "amazon ses": [
        "from a8-50.smtp-out.amazonses.com (a8-50.smtp-out.amazonses.com [198.51.100.50]) by mx.example.com (Postfix)"
        " with ESMTPS id 5D6E7F8A9B; Mon, 8 Dec 2025 05:14:12 +0000 (UTC)",
        "from www.example.net (ip-10-0-137-142.ec2.internal [10.0.137.142]) by email-smtp.amazonaws.com with SMTP"
        " (SimpleEmailService-d-AKB5QEBJG) id n5pYSOJsgSqVzbGOd7ww for <b@example.com>; Mon, 08 Dec 2025 05:14:09"
        " +0000 (UTC)",
    ],
    "sendgrid": [
        "from o1.sg.example.net (o1.sg.example.net [203.0.113.40]) by mx.example.com (Postfix) with ESMTPS"
        " id 6E7F8A9B0C; Wed, 21 Jun 2023 22:33:18 +0000 (UTC)",
        "by recvd-65f68489c8-b6w8z with SMTP id recvd-65f68489c8-b6w8z-1-64937AAA-5C 2023-06-21 22:33:15.071715387"
        " +0000 UTC m=+3625023.840218965",
        "from bionic.localdomain (unknown) by geopod-ismtpd-0 (SG) with ESMTP id Vsg4Okx2QpydLWx1dvgG5Q"
        " Wed, 21 Jun 2023 22:33:14.503 +0000 (UTC)",
    ],
    "mailgun": [
        "from m42.mailgun.net (m42.mailgun.net [198.51.100.42]) by mx.example.com (Postfix) with ESMTPS id 7F8A9B0C1D;"
        " Tue, 20 Mar 2012 19:01:00 +0000 (UTC)",
        "by luna.mailgun.net with SMTP mgrt 7313261; Tue, 20 Mar 2012 19:00:58 +0000",
        "from localhost.localdomain (app.example.net [203.0.113.41]) by mxa.mailgun.org with ESMTP"
        " id 4f68d3e9.4ddcdf0-luna; Tue, 20 Mar 2012 19:00:57 -0000 (UTC)",
    ],
    "yahoo": [
        "from sonic305-28.consmr.mail.ne1.yahoo.com (sonic305-28.consmr.mail.ne1.yahoo.com [203.0.113.60])"
        " by mx.example.com (Postfix) with ESMTPS id 8A9B0C1D2E; Fri, 30 Aug 2024 00:40:47 +0000 (UTC)",
        "from sonic.gate.mail.ne1.yahoo.com by sonic305.consmr.mail.ne1.yahoo.com with HTTP; Fri, 30 Aug 2024 00:40:45"
        " +0000",
        "by hermes--production-gq1-5d95dc458-dxlpk (Yahoo Inc. Hermes SMTP Server) with ESMTPA"
        " ID cc2d6a8057ac7b246e10bf9aa95792e4; Fri, 30 Aug 2024 00:40:41 +0000 (UTC)",
    ],
    "icloud": [
        "from pv50p00im-hyfv10021.me.com (pv50p00im-hyfv10021.me.com [198.51.100.61]) by mx.example.com (Postfix)"
        " with ESMTPS id 9B0C1D2E3F; Wed, 1 May 2024 08:00:03 +0000 (UTC)",
        "from smtpclient.apple (pv50p00im-dlb-asmtp-mailmevip.me.com [10.56.9.10])"
        " by pv50p00im-hyfv10021.me.com (Postfix) with ESMTPSA id 4F00C3A8021F; Wed,  1 May 2024 08:00:01 +0000 (UTC)",
    ],
    "fastmail": [
        "from compute5.internal (compute5.internal [10.202.2.45]) by sloti9.internal (Cyrus 3.9.0-alpha) with LMTPA;"
        " Wed, 25 Nov 2026 07:00:05 -0500",
        "from mx3.messagingengine.com ([10.202.2.202]) by compute5.internal (LMTPProxy); Wed, 25 Nov 2026 07:00:05"
        " -0500",
        "from out.example.net (out.example.net [203.0.113.71]) by mx3.messagingengine.com (Postfix) with ESMTPS"
        " id 0C1D2E3F4A; Wed, 25 Nov 2026 07:00:04 -0500 (EST)",
    ],
    "zimbra": [
        "from localhost (localhost [127.0.0.1]) by zimbra.example.com (Postfix) with ESMTP id 1D2E3F4A5B;"
        " Wed, 25 Nov 2026 13:00:03 +0100 (CET)",
        "from zimbra.example.com ([127.0.0.1]) by localhost (zimbra.example.com [127.0.0.1]) (amavisd-new, port 10032)"
        " with ESMTP id BJxrh9Yst1Ac; Wed, 25 Nov 2026 13:00:02 +0100 (CET)",
        "from out.example.net (out.example.net [203.0.113.72]) by zimbra.example.com (Postfix) with ESMTPS"
        " id 2E3F4A5B6C; Wed, 25 Nov 2026 13:00:01 +0100 (CET)",
    ],
    "haraka": [
        "(Haraka outbound); Wed, 25 Nov 2026 12:00:01 +0000",
        "from pc (dyn.example.net [192.0.2.80]) by apollo.example.org (Haraka/3.0.3) with ESMTPSA"
        " id 8E30EE2E-AD6C-4250-8F10-1730CA3326DA.1 envelope-from <a@example.org> (authenticated bits=0)"
        " (cipher=TLS_AES_256_GCM_SHA384); Wed, 25 Nov 2026 12:00:00 +0000",
    ],
    "kumomta": [
        "from ip-172-26-13-251.us-east-2.compute.internal (172.26.13.251) by pmta.internal.example.net"
        " (KumoMTA 10.97.242.83) with ESMTP id 459cb2c1903011f19f1302c9fa07781d for <b@example.com>;"
        " Tue, 4 Aug 2026 18:14:02 +0000",
    ],
    "halon": [
        "from out.example.net (out.example.net [203.0.113.73]) by mx1.example.com (Halon) with ESMTPS (TLSv1.3)"
        " id 0c0f4d5e-8b1c-11ef-9c64-005056917a89; Wed, 25 Nov 2026 12:00:00 +0000 (UTC)",
    ],
    "ours": [
        "from app.example.net (unknown [203.0.113.74]) by relay.example.com with ESMTPS"
        " id 019abb7e30e8a1b2c3d4e5f60718293a; Wed, 25 Nov 2026 12:00:00 +0000",
    ],
    "zmailer": [
        "from 203-0-113-97.example.net ([203.0.113.97]:51810 \"EHLO sunset.example.net\" rhost-flags-OK-OK-OK-OK)"
        " by vger.example.org with ESMTP id S933071Ab0KOTHp (ORCPT <rfc822;list@example.org>); Mon, 15 Nov 2010"
        " 14:07:45 -0500",
    ],
    "fetchmail": [
        "from jalapeno [127.0.0.1] by localhost with IMAP (fetchmail-5.9.0) for jm@localhost (single-drop);"
        " Mon, 23 Sep 2002 12:06:26 +0100 (IST)",
        "from out.example.net (out.example.net [203.0.113.75]) by dogma.example.com (8.11.6/8.11.6) with ESMTP"
        " id g8N5D2C01926; Mon, 23 Sep 2002 06:13:06 +0100",
    ],
}  # fmt: skip
