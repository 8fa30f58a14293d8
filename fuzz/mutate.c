/* SPDX-License-Identifier: MIT */
int mutate_none;
