/* SPDX-License-Identifier: MIT */
/* json.c - building JSON values without testing every step.
 * Knows jansson; must not know what the values mean. */
#include "json.h"

#include <stdlib.h>
#include <string.h>

#include "hidden.h"
#include "out.h"
#include "report.h"
#include "text.h"

json_t *json_text(const char *text)
{
    char *clean = text_to_utf8(text);
    json_t *value;

    if (clean == NULL) {
        return NULL;
    }
    value = json_string(clean);
    free(clean);
    return value;
}

json_t *json_u64(uint64_t value)
{
    char digits[24];

    if (value <= INT64_MAX) {
        return json_integer((json_int_t)value);
    }
    snprintf(digits, sizeof digits, "%llu", (unsigned long long)value);
    return json_string(digits);
}

void json_set(json_t *object, const char *key, json_t *value, bool *failed)
{
    if (json_object_set_new(object, key, value) != 0) {
        *failed = true;
    }
}

void json_append(json_t *array, json_t *value, bool *failed)
{
    if (json_array_append_new(array, value) != 0) {
        *failed = true;
    }
}

bool json_print(json_t *value, bool failed)
{
    char *text = NULL;

    if (!failed) {
        text = json_dumps(value, JSON_INDENT(4));
    }
    json_decref(value);
    if (text == NULL) {
        report(NULL, "out of memory");
        return false;
    }
    text_put_json(stdout, text, strlen(text));
    putchar('\n');
    free(text);
    return true;
}

void json_put_text(FILE *stream, const char *text)
{
    fputc('"', stream);
    while (*text != '\0') {
        uint32_t code = 0;
        int length = text_decode(text, &code);

        if (length == 0) {
            fputs("\xef\xbf\xbd", stream);
            length = 1;
        } else if (hidden_character(code) || code == '"' || code == '\\') {
            text_put_json_code(stream, code);
        } else {
            fwrite(text, 1, (size_t)length, stream);
        }
        text += length;
    }
    fputc('"', stream);
}
