/* SPDX-License-Identifier: Apache-2.0 */
/* strait: the admin command. */
#include "client/cli/cli.h"

int main(int count, char **values)
{
    struct cli cli = {0};
    enum cli_exit exit = cli_run(&cli, count - 1, values + 1);
    strait_close(cli.handle);
    if (fflush(stdout) != 0 && exit == CLI_DONE) {
        fprintf(stderr, "strait: standard output cannot be written\n");
        exit = CLI_REFUSED;
    }
    return (int)exit;
}
