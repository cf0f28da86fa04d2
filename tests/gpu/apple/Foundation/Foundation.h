/* Stands in for Apple's header, so that clang reads module.m anywhere: what that file uses, with Apple's types. */
#pragma once
typedef unsigned long NSUInteger;
typedef signed char BOOL;
typedef const void *CFTypeRef;
#define YES ((BOOL)1)
#define NO ((BOOL)0)
#define nil ((id)0)
__attribute__((objc_root_class)) @interface NSObject
+ (instancetype)new;
+ (instancetype)alloc;
- (instancetype)init;
@end
@protocol NSObject
@end
@interface NSString : NSObject
+ (instancetype)stringWithUTF8String:(const char *)text;
@property(readonly) const char *UTF8String;
@end
@interface NSConstantString : NSString
@end
@interface NSMutableString : NSString
+ (instancetype)string;
- (void)appendString:(NSString *)text;
@end
@interface NSError : NSObject
@property(readonly, copy) NSString *localizedDescription;
@end
@interface NSMutableDictionary : NSObject
+ (instancetype)dictionary;
- (id)objectForKeyedSubscript:(id)key;
- (void)setObject:(id)value forKeyedSubscript:(id)key;
@end
CFTypeRef CFBridgingRetain(id object);
void CFRelease(CFTypeRef object);
