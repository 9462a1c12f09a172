//! `derive(Row)`: see the crate `cutwater-rows`.

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Data, DeriveInput, Error, Field, Fields, Ident, LitStr, Result, Type, parse_macro_input};

/// Makes a struct with named fields a row.
///
/// Its columns are its fields, in their order, under their names. `#[row(key)]` on the first fields says that they tell one
/// row from another; `#[row(name = "…")]` gives a column another name. A crate that depends on
/// `cutwater` or `cutwater-dataflows` needs no dependency on `cutwater-rows`.
///
/// Beside the struct it makes `NAMERef<'a>`, the row borrowed: its fields have the same names. The struct must derive
/// `Clone`, `Debug`, `PartialEq`, `Eq`, `PartialOrd`, `Ord` and `Hash`, in the order of the fields.
#[proc_macro_derive(Row, attributes(row))]
pub fn derive_row(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(Error::into_compile_error).into()
}

/// A field as its attributes have it.
struct Column<'a> {
    field: &'a Ident,
    kind: &'a Type,
    name: String,
    key: bool,
}

fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let columns = columns(input)?;
    let rows = path_of_rows();
    let (row, visibility) = (&input.ident, &input.vis);
    let name = row.to_string();
    let borrowed = format_ident!("{row}Ref");
    let fields: Vec<_> = columns.iter().map(|column| column.field).collect();
    let kinds: Vec<_> = columns.iter().map(|column| column.kind).collect();
    let names = columns.iter().map(|column| &column.name);
    let key = columns.iter().filter(|column| column.key).count();
    let last = fields.len() - 1;
    let places: Vec<_> = (0..fields.len())
        .map(|index| if index == last { quote!(place) } else { quote!(#rows::Place::Inner) })
        .collect();
    let doc = format!("A borrowed [`{row}`].");
    let visibilities = input_visibilities(input);
    Ok(quote! {
        #[doc = #doc]
        #[derive(Clone, Copy, Debug)]
        #visibility struct #borrowed<'a> {
            #(#[allow(missing_docs)] #visibilities #fields: <#kinds as #rows::Row>::Ref<'a>,)*
        }

        impl #rows::Row for #row {
            type Ref<'a> = #borrowed<'a>;
            #[inline]
            fn borrow(&self) -> #borrowed<'_> {
                #borrowed { #(#fields: #rows::Row::borrow(&self.#fields),)* }
            }
            fn to_owned(row: #borrowed<'_>) -> Self {
                #row { #(#fields: <#kinds as #rows::Row>::to_owned(row.#fields),)* }
            }
            #[inline]
            fn write(row: #borrowed<'_>, place: #rows::Place, out: &mut ::std::vec::Vec<u8>) {
                #(<#kinds as #rows::Row>::write(row.#fields, #places, out);)*
            }
            #[inline]
            fn read<'a>(
                bytes: &mut &'a [u8],
                place: #rows::Place,
            ) -> ::core::result::Result<#borrowed<'a>, #rows::Damaged> {
                ::core::result::Result::Ok(#borrowed {
                    #(#fields: <#kinds as #rows::Row>::read(bytes, #places)?,)*
                })
            }
            fn kind() -> #rows::Kind {
                #rows::Kind::Struct(#rows::Schema {
                    name: #name.into(),
                    columns: ::std::vec![#(#rows::Column::new(#names, <#kinds as #rows::Row>::kind()),)*],
                    key: #key,
                })
            }
        }

        #rows::serialize_as_encoding!([] #row);
    })
}

fn named(input: &DeriveInput) -> Result<&syn::punctuated::Punctuated<Field, syn::Token![,]>> {
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(&input.generics, "a row has no generic parameters"));
    }
    match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) if !fields.named.is_empty() => Ok(&fields.named),
            _ => Err(Error::new_spanned(input, "a row has named fields: they are its columns")),
        },
        _ => Err(Error::new_spanned(input, "a row is a struct")),
    }
}

fn input_visibilities(input: &DeriveInput) -> Vec<syn::Visibility> {
    named(input).map(|fields| fields.iter().map(|field| field.vis.clone()).collect()).unwrap_or_default()
}

fn columns(input: &DeriveInput) -> Result<Vec<Column<'_>>> {
    let mut columns: Vec<Column<'_>> = Vec::new();
    for field in named(input)? {
        let ident = field.ident.as_ref().expect("named fields have names");
        let text = ident.to_string();
        let name = text.strip_prefix("r#").unwrap_or(&text).to_owned();
        let mut column = Column { field: ident, kind: &field.ty, name, key: false };
        for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("row")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("key") {
                    column.key = true;
                    Ok(())
                } else if meta.path.is_ident("name") {
                    column.name = meta.value()?.parse::<LitStr>()?.value();
                    Ok(())
                } else {
                    Err(meta.error("expected `key` or `name = \"…\"`"))
                }
            })?;
        }
        if column.key && columns.last().is_some_and(|before| !before.key) {
            return Err(Error::new_spanned(field, "the columns of the key come first"));
        }
        if columns.iter().any(|other| other.name == column.name) {
            return Err(Error::new_spanned(field, format!("two columns are named {:?}", column.name)));
        }
        columns.push(column);
    }
    Ok(columns)
}

/// How the crate that the struct is in names `cutwater_rows`: as its own dependency, or through one that has it.
fn path_of_rows() -> TokenStream {
    let found = |name: &str, inside: TokenStream| match crate_name(name).ok()? {
        // Also in its own tests and examples, which are crates of their own.
        FoundCrate::Itself => {
            let name = format_ident!("{}", name.replace('-', "_"));
            Some(quote!(::#name #inside))
        }
        FoundCrate::Name(name) => {
            let name = format_ident!("{name}");
            Some(quote!(::#name #inside))
        }
    };
    found("cutwater-rows", quote!())
        .or_else(|| found("cutwater-dataflows", quote!(::rows)))
        .or_else(|| found("cutwater", quote!(::rows)))
        .unwrap_or_else(|| quote!(::cutwater_rows))
}
